import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lliptools.nets import ClippedReLU
from lliptools.nets.rules import rule

FINITE = st.floats(-5, 5)


@given(FINITE, FINITE, FINITE, st.floats(0, 1))
def test_image_and_slope_hold_between_any_two_points(theta, one, other, where):
    act = ClippedReLU(torch.tensor(theta, dtype=torch.float64), learnable=False)
    lower, upper = (torch.tensor([[value]], dtype=torch.float64) for value in sorted((one, other)))
    z = lower + where * (upper - lower)
    image, slope = act.image(lower, upper), act.slope(lower, upper)
    assert image[0] <= act(z) <= image[1]
    assert (act(upper) - act(lower)).abs() <= slope * (upper - lower) + 1e-15


def test_value():
    act = ClippedReLU(torch.tensor([1.0, 2.0, -1.0]))
    assert act(torch.tensor([[-1.0, 0.5, 3.0], [3.0, 3.0, 3.0]])).tolist() == [[0.0, 0.5, 0.0], [1.0, 2.0, 0.0]]


def test_threshold_is_learnable_or_fixed():
    assert [name for name, _ in ClippedReLU(0.5).named_parameters()] == ["theta"]
    fixed = ClippedReLU(torch.ones(3), learnable=False)
    assert not list(fixed.parameters())
    assert "theta" in fixed.state_dict()
    assert ClippedReLU(2).theta.dtype == torch.float32
    assert "theta=0.5" in repr(ClippedReLU(0.5))
    assert "3 units" in repr(fixed)


def test_threshold_does_not_share_memory():
    theta = torch.ones(3)
    act = ClippedReLU(theta)
    theta.fill_(7.0)
    assert act.theta.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("layer", [nn.SiLU(), nn.GELU(), nn.Linear(2, 2)])
def test_no_rule(layer):
    assert rule(layer) is None


def test_relu_is_the_clipped_one_without_a_clip():
    z = torch.randn(4, 5)
    assert torch.equal(rule(nn.ReLU())(z), z.relu())
