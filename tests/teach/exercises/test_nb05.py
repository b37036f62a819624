"""The exercises of notebook 05: answers that are written differently, and what is said and drawn of wrong ones."""

import copy

import pytest
import torch
from torch import nn

import lliptools as ll

relu_mask = ll.check.relu_theta_mask.reference
pair_mask = ll.check.clipped_maxmin_mask.reference
loss = ll.check.sparsity_loss.reference


def relu_mask_by_values(lower, upper, theta):
    """Both ends through the activation; what is not known to be equal varies."""
    clipped = [torch.minimum(z.clamp(min=0), theta.clamp(min=0)) for z in (lower, upper)]
    return (~torch.isclose(*clipped, rtol=0, atol=0)).int().tolist()


def pair_mask_by_loop(lower, upper, theta_max, theta_min):
    pairs = len(lower) // 2
    high, low = (torch.broadcast_to(theta, (pairs,)) for theta in (theta_max, theta_min))
    outputs = [True] * 2 * pairs
    for k in range(pairs):
        a, b = (lower[k].item(), upper[k].item()), (lower[k + pairs].item(), upper[k + pairs].item())
        known = a[0] <= a[1] and b[0] <= b[1]
        outputs[k] = not (known and (a[0] >= high[k] or b[0] >= high[k]))
        outputs[k + pairs] = not (known and (a[1] <= low[k] or b[1] <= low[k]))
    return outputs, [outputs[k % pairs] or outputs[k % pairs + pairs] for k in range(2 * pairs)]


def loss_by_loop(lower, upper, theta, s):
    total = 0.0
    for low, high, limit in zip(lower, upper, theta.expand_as(lower), strict=True):
        if high > 0:
            total = total + high
        if low < limit:
            total = total + s * (limit - low)
    return total / len(lower)


def with_relu(net):
    return nn.Sequential(*(nn.ReLU() if isinstance(layer, ll.nets.ClippedReLU) else layer for layer in net))


def at(theta):
    def answer(net):
        free = copy.deepcopy(net)
        for layer in free:
            if isinstance(layer, ll.nets.ClippedReLU):
                layer.theta.data.fill_(theta)
        return free

    return answer


@pytest.mark.parametrize(
    ("check", "answer", "count"),
    [
        ("relu_theta_mask", relu_mask_by_values, 22),
        ("clipped_maxmin_mask", pair_mask_by_loop, 17),
        ("sparsity_loss", loss_by_loop, 11),
        ("theta_to_infinity", at(torch.inf), 3),
        ("theta_to_infinity", with_relu, 3),
        ("theta_to_infinity", at(1e300), 3),
    ],
)
def test_right(check, answer, count):
    outcome = getattr(ll.check, check)(answer)
    assert (outcome.status, outcome.message) == ("right", f"on {count} cases")


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("relu_theta_mask", lambda low, up, theta: relu_mask(low, up, theta)[:1], "expected a mask of shape"),
        ("relu_theta_mask", lambda low, up, theta: torch.nan * low, "expected True or False"),
        ("clipped_maxmin_mask", lambda *given: pair_mask(*given)[0], "expected (outputs, inputs)"),
        ("clipped_maxmin_mask", lambda *given: [mask[:1] for mask in pair_mask(*given)], "two masks of shape (2,)"),
        ("sparsity_loss", lambda *given: loss(*given) * torch.nan, "yours is nan"),
        ("theta_to_infinity", at(100.0), "the outputs differ"),
        ("theta_to_infinity", at(0.0), "the outputs differ"),
        ("theta_to_infinity", at(float("nan")), "the outputs differ"),
        ("theta_to_infinity", lambda net: nn.Sequential(nn.Linear(9, 1)), "to points, your function raised Runtime"),
        ("theta_to_infinity", lambda net: 3, "expected a network"),
        *((check, lambda *_: 1 / 0, "raised ZeroDivisionError") for check in ("relu_theta_mask", "sparsity_loss")),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message


def test_the_masks_are_the_librarys():
    """What the checks call varying is what the bounds keep."""
    lower = torch.randn(200).double()
    upper = lower + torch.rand(200).double()
    theta = torch.rand(200).double() - 0.2
    activation = ll.nets.ClippedReLU(theta)
    assert torch.equal(relu_mask(lower, upper, theta), activation.slope(lower[None], upper[None])[0] > 0)
    high, low = torch.rand(2, 100).double()
    activation = ll.nets.ClippedMaxMin(high, -low)
    outputs, inputs = pair_mask(lower, upper, high, -low)
    assert torch.equal(outputs, activation.slope(lower[None], upper[None])[0] > 0)
    assert torch.equal(inputs, activation.row_slope(lower[None], upper[None])[0] > 0)


def test_the_loss_is_the_librarys():
    net = ll.nets.mlp(3, 6, 2, activation="clipped_relu", theta=0.3).double()
    bound = ll.local_bound(net, torch.randn(1, 3).double(), 0.2)
    box = bound.blocks[0].box
    expected = ll.training.sparsity_loss(net, bound)
    assert torch.allclose(loss(box.lower[0], box.upper[0], net[1].theta, 0.1), expected)


def test_the_two_points_that_break_a_mask_are_drawn():
    """A pair of the plane whose outputs differ though they were called constant."""
    figure = ll.check.clipped_maxmin_mask(lambda lower, upper, *limits: pair_mask(upper, lower, *limits)).picture()
    ends = [trace for trace in figure.data if trace.mode == "markers"]
    inputs, outputs = ends[:2], ends[2:]
    activation = ll.nets.ClippedMaxMin(1.0, -1.0)
    for before, after in zip(inputs, outputs, strict=True):
        z = torch.tensor([[before.x[0], before.y[0]]]).double()
        assert activation(z)[0].tolist() == [after.x[0], after.y[0]]
    assert outputs[0].x[0] != outputs[1].x[0]
