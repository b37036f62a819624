"""The largest change of the last layer over a ball cut by a box, held against bisection and against sampling."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lliptools.margins import largest_change


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
