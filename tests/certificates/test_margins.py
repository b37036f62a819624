"""The largest change of the last layer over a ball cut by a box, held against bisection and against sampling."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lliptools as ll
from lliptools.certificates.margins import largest_change


def by_bisection(w, radius, below, above):
    """w · clip(t w, −below, above) at the t whose step has length radius."""

    def step(t):
        return np.clip(t * w, -below, above)

    low, high = 0.0, 1e9
    if np.linalg.norm(step(high)) <= radius:
        return w @ step(high)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if np.linalg.norm(step(middle)) > radius else (middle, high)
    return w @ step(low)


@settings(max_examples=150)
@given(seed=st.integers(0, 10_000), units=st.integers(1, 12), radius=st.floats(1e-3, 10), sparse=st.booleans())
def test_against_bisection(seed, units, radius, sparse):
    generator = np.random.default_rng(seed)
    w, below, above = generator.standard_normal(units), generator.random(units), generator.random(units)
    if sparse:
        w[generator.random(units) > 0.6] = 0.0
        below[generator.random(units) > 0.6] = 0.0
        above[generator.random(units) > 0.8] = np.inf
    tensors = [torch.as_tensor(v)[None] for v in (w, below, above)]
    found = largest_change(tensors[0][None], torch.tensor([radius], dtype=torch.float64), tensors[1], tensors[2]).item()
    wanted = by_bisection(w, radius, below, above)
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    assert found >= wanted * (1 - 1e-12)


def test_extremes():
    w = torch.tensor([[[3.0, -4.0]]]).double()
    wide, nothing = torch.full((1, 2), torch.inf).double(), torch.zeros(1, 2).double()
    radius = torch.tensor([0.5]).double()
    assert largest_change(w, radius, wide, wide).item() == pytest.approx(2.5, rel=1e-15)
    assert largest_change(w, radius, nothing, nothing).item() == 0.0
    assert largest_change(w, 0 * radius, wide, wide).item() == 0.0
    assert largest_change(w, radius / 0, nothing + 1, nothing + 1).item() == pytest.approx(7.0)
    assert largest_change(w, radius / 0, wide, wide).item() == torch.inf
    assert largest_change(0 * w, radius, wide, wide).item() == 0.0
    assert largest_change(w, radius, wide * torch.nan, wide).item() == pytest.approx(2.5)  # the ball still holds
    assert largest_change(w * torch.nan, radius, wide, wide).isnan()
    only_up = largest_change(w, radius, nothing, wide).item()  # the second unit cannot fall, the first rises
    assert only_up == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("w", "radius", "limit"),
    [
        ([1.0], 1e300, [1e-30]),  # the limit in units of the ball is 1e-330
        ([1.0], 1e30, [1e-300]),
        ([1e300, 1e-30], 1e50, [0.0, 1e40]),  # one weight in units of the other is 1e-330
        ([1.0, 1e-200], 1e200, [0.0, 1.0]),  # their product is 1e-400 in these units
        ([1e-200, 1e-200], 1e-100, [1e-150, 1e-90]),
    ],
)
def test_what_a_scale_takes_away_is_given_back(w, radius, limit):
    tensors = [torch.tensor(values, dtype=torch.float64)[None] for values in (w, limit)]
    for sign in (1, -1):
        found = largest_change(
            sign * tensors[0][None], torch.tensor([radius], dtype=torch.float64), tensors[1], tensors[1]
        )
        assert found.item() >= sum(min(radius, at_most) * size for size, at_most in zip(w, limit, strict=True)) / 2


@pytest.mark.parametrize(("theta", "eps"), [(1e-30, 1e300), (1e-200, 1e150), (1e-300, 1e30)])
@pytest.mark.parametrize("outward", [True, False])
def test_no_certificate_from_a_limit_that_underflows(theta, eps, outward):
    net = torch.nn.Sequential(ll.nets.ClippedReLU(torch.tensor(theta).double()), torch.nn.Linear(1, 2)).double()
    net[0].theta.data = torch.tensor(theta, dtype=torch.float64)
    net[1].weight.data = torch.tensor([[-1.0], [0.0]], dtype=torch.float64)
    net[1].bias.data = torch.tensor([theta / 10, 0.0], dtype=torch.float64)
    x = torch.tensor([[-1.0]]).double()
    assert net(torch.tensor([[-1.0], [1.0]]).double()).argmax(dim=1).tolist() == [0, 1]
    for bound in ("global", "local", "tightest"):
        assert not ll.certify(net, x, torch.tensor([0]), eps, ll.BOUNDS[bound], outward=outward).holds


@given(seed=st.integers(0, 10_000), which=st.sampled_from(["w", "radius", "below", "above"]))
def test_an_unknown_number_never_makes_the_change_smaller(seed, which):
    generator = torch.Generator().manual_seed(seed)
    names = ("w", "radius", "below", "above")
    shapes = ((1, 3, 5), (1,), (1, 5), (1, 5))
    given_ = {n: torch.rand(shape, generator=generator).double() for n, shape in zip(names, shapes, strict=True)}
    given_["w"] = given_["w"] - 0.5
    place = int(torch.randint(given_[which].numel(), (1,), generator=generator))

    def with_(value):
        changed = {name: values.clone() for name, values in given_.items()}
        changed[which].view(-1)[place] = value
        return largest_change(*changed.values())

    for unknown in (torch.nan, torch.inf):
        found = with_(unknown)
        for value in (0.0, 0.3, 1e6, 1e300, -1e300 if which == "w" else 1.0):
            assert not (found < with_(value) * (1 - 1e-12)).any()
