"""The search for the largest radius that holds: few trials where the slack is smooth, else as many as bisection."""

import math

import pytest
import torch

from lliptools.certificates.radius import narrowed

ROOT, TOLERANCE = 1.37, 1e-6
HALVINGS = math.ceil(math.log2(math.log(2.0) / TOLERANCE))
SMOOTH = {
    "linear": lambda r: ROOT - r,
    "steeper and steeper": lambda r: ROOT**8 - r**8,
    "flatter and flatter": lambda r: math.log(ROOT) - r.log(),
}
ROUGH = {
    "a corner at the root": lambda r: (ROOT - r) * torch.where(r < ROOT, 1.0, 7.0),
    "a jump from a little to a lot": lambda r: torch.where(r <= ROOT, 1e-9, -1e9),
    "a jump from a lot to a little": lambda r: torch.where(r <= ROOT, 1e9, -1e-9),
    "yes or no": lambda r: r <= ROOT,
    "no number beyond": lambda r: torch.where(r <= ROOT, ROOT - r + 1e-3, torch.nan),
    "no end before": lambda r: torch.where(r <= ROOT, torch.inf, -1.0),
    "noise": lambda r: ROOT - r + 1e-3 * torch.sin(1e9 * r) * torch.where((r / ROOT - 1).abs() < 1e-3, 0.0, 1.0),
}


def search(slack, low=1.0, high=2.0, **options):
    """The radius that is found, all that were tried, and in how many calls."""
    tried = []

    def counted(index, radii):
        tried.append(radii)
        return slack(radii)

    ends = (torch.tensor([end], dtype=torch.float64) for end in (low, high))
    return narrowed(counted, *ends, TOLERANCE, **options).item(), torch.cat(tried), len(tried)


@pytest.mark.parametrize("name", SMOOTH | ROUGH)
@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (1.369999, 1e5), (1e-300, 1e300)])
def test_what_is_found_was_tried_and_is_within_the_tolerance(name, low, high):
    slack = (SMOOTH | ROUGH)[name]
    found, tried, times = search(slack, low, high)
    assert found in tried[slack(tried) > 0]
    assert ROOT * (1 - 1.01 * TOLERANCE) <= found <= ROOT
    assert times <= 60


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_slacks_take_few_trials(name):
    assert search(SMOOTH[name])[2] <= 11 < HALVINGS


@pytest.mark.parametrize("name", ROUGH)
def test_rough_ones_take_few_more_than_bisection(name):
    assert search(ROUGH[name])[2] <= HALVINGS + 3


def test_several_trials_at_once():
    found, tried, times = search(lambda r: r <= ROOT, trials=11)
    assert found in tried
    assert ROOT * (1 - 1.01 * TOLERANCE) <= found <= ROOT
    assert times <= 6


def test_from_0_it_goes_down_to_the_least():
    found, tried, _ = search(lambda r: 1e-9 - r, low=0.0, least=1e-3)
    assert found == 0.0
    assert 5e-4 < tried.min() <= 1e-3
    assert search(lambda r: 1e-9 - r, low=0.0)[0] == pytest.approx(1e-9, rel=1e-6)
