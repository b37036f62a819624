"""The checks of notebook 05 against right answers and the classic wrong ones."""

import copy

import pytest
import torch
from torch import nn

import lliptools as ll


def relu_mask(lower, upper, theta):
    return ~((upper <= 0) | (lower >= theta) | (theta <= 0))


def relu_mask_by_values(lower, upper, theta):
    """Both ends through the activation; what is not known to be equal varies."""
    clipped = [torch.minimum(z.clamp(min=0), theta.clamp(min=0)) for z in (lower, upper)]
    return (~torch.isclose(*clipped, rtol=0, atol=0)).int().tolist()


def pair_mask(lower, upper, theta_max, theta_min):
    larger = ~(torch.maximum(*lower.chunk(2)) >= theta_max)
    smaller = ~(torch.minimum(*upper.chunk(2)) <= theta_min)
    return torch.cat([larger, smaller]), torch.cat([larger | smaller] * 2)


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


def loss(lower, upper, theta, s):
    return upper.relu().mean() + s * (theta - lower).relu().mean()


def loss_by_loop(lower, upper, theta, s):
    total = 0.0
    for low, high, limit in zip(lower, upper, theta.expand_as(lower), strict=True):
        if high > 0:
            total = total + high
        if low < limit:
            total = total + s * (limit - low)
    return total / len(lower)


def without_clipping(net):
    free = copy.deepcopy(net)
    with torch.no_grad():
        for layer in free:
            if isinstance(layer, ll.nets.ClippedReLU):
                layer.theta.fill_(torch.inf)
    return free


def with_relu(net):
    return nn.Sequential(*(nn.ReLU() if isinstance(layer, ll.nets.ClippedReLU) else layer for layer in net))


def new_layers(net):
    clipped = ll.nets.ClippedReLU
    return nn.Sequential(*(clipped(torch.inf) if isinstance(layer, clipped) else layer for layer in net))


def in_place(net):
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, ll.nets.ClippedReLU):
                layer.theta.fill_(torch.inf)
    return net


def at(theta):
    def answer(net):
        free = copy.deepcopy(net)
        for layer in free:
            if isinstance(layer, ll.nets.ClippedReLU):
                layer.theta.data.fill_(theta)
        return free

    return answer


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("relu_theta_mask", relu_mask),
        ("relu_theta_mask", relu_mask_by_values),
        ("clipped_maxmin_mask", pair_mask),
        ("clipped_maxmin_mask", pair_mask_by_loop),
        ("sparsity_loss", loss),
        ("sparsity_loss", loss_by_loop),
        ("theta_to_infinity", without_clipping),
        ("theta_to_infinity", with_relu),
        ("theta_to_infinity", at(1e300)),
        ("theta_to_infinity", new_layers),
    ],
)
def test_right(check, answer):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "right", outcome


def rows_like_columns(*given):
    outputs, _ = pair_mask(*given)
    return outputs, outputs


def any_constant(*given):
    """Strikes the inputs of a pair as soon as one of its outputs is constant."""
    outputs, _ = pair_mask(*given)
    return outputs, torch.cat([torch.logical_and(*outputs.chunk(2))] * 2)


def neighbours(lower, upper, theta_max, theta_min):
    """Takes units 2k and 2k + 1 for a pair."""
    a, b = slice(0, None, 2), slice(1, None, 2)
    larger = ~(torch.maximum(lower[a], lower[b]) >= theta_max)
    smaller = ~(torch.minimum(upper[a], upper[b]) <= theta_min)
    return torch.cat([larger, smaller]), torch.cat([larger | smaller] * 2)


def wrong_ends(lower, upper, theta_max, theta_min):
    larger = ~(torch.maximum(*upper.chunk(2)) >= theta_max)
    smaller = ~(torch.minimum(*lower.chunk(2)) <= theta_min)
    return torch.cat([larger, smaller]), torch.cat([larger | smaller] * 2)


def nan_is_constant(lower, upper, theta_max, theta_min):
    larger, smaller = torch.maximum(*lower.chunk(2)) < theta_max, torch.minimum(*upper.chunk(2)) > theta_min
    return torch.cat([larger, smaller]), torch.cat([larger | smaller] * 2)


def each_by_itself(lower, upper, theta_max, theta_min):
    (lower_a, _), (_, upper_b) = lower.chunk(2), upper.chunk(2)
    larger, smaller = ~(lower_a >= theta_max), ~(upper_b <= theta_min)
    return torch.cat([larger, smaller]), torch.cat([larger | smaller] * 2)


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("relu_theta_mask", lambda *given: ~relu_mask(*given), "is constant: [-2, -1], θ = 1"),
        ("relu_theta_mask", lambda low, up, theta: (up > 0) & (low < theta), "is constant: [-1, 2], θ = 0"),
        ("relu_theta_mask", lambda low, up, theta: (up > 0) & (low < theta) & (theta > 0), "nothing is known of it"),
        ("relu_theta_mask", lambda low, up, theta: ~(up <= 0), "is constant: [2, 3], θ = 1"),
        ("relu_theta_mask", lambda low, up, theta: ~((up < 0) | (low > theta)), "is constant: [-1, 0], θ = 1"),
        ("relu_theta_mask", lambda low, up, theta: ~((low <= 0) | (up >= theta)), "0 at one end and 0.5 at the other"),
        ("relu_theta_mask", lambda low, up, theta: relu_mask(low, up, theta).double() / 2, "expected True or False"),
        ("relu_theta_mask", lambda low, up, theta: relu_mask(low, up, theta)[:1], "expected a mask of shape"),
        ("relu_theta_mask", lambda low, up, theta: torch.nan * low, "expected True or False"),
        ("clipped_maxmin_mask", rows_like_columns, "inputs["),
        ("clipped_maxmin_mask", any_constant, "inputs["),
        ("clipped_maxmin_mask", neighbours, "outputs["),
        ("clipped_maxmin_mask", wrong_ends, "you call outputs[0] constant"),
        ("clipped_maxmin_mask", nan_is_constant, "nothing is known of"),
        ("clipped_maxmin_mask", each_by_itself, "is constant"),
        ("clipped_maxmin_mask", lambda *given: pair_mask(*given)[0], "expected (outputs, inputs)"),
        ("clipped_maxmin_mask", lambda *given: [mask[:1] for mask in pair_mask(*given)], "two masks of shape (2,)"),
        ("sparsity_loss", lambda low, up, theta, s: up.relu().sum() + s * (theta - low).relu().sum(), "the loss is"),
        ("sparsity_loss", lambda low, up, theta, s: up.relu().mean() + (theta - low).relu().mean(), "the loss is 1.5"),
        ("sparsity_loss", lambda low, up, theta, s: up.relu().mean() + s * (low - theta).relu().mean(), "the loss is"),
        ("sparsity_loss", lambda *given: loss(*given).item(), "its gradient in lower"),
        ("sparsity_loss", lambda *given: loss(given[0], given[1].detach(), *given[2:]), "its gradient in upper"),
        ("sparsity_loss", lambda low, up, theta, s: relu_mask(low, up, theta).double().mean(), "the loss is"),
        ("sparsity_loss", lambda *given: loss(*given) * torch.nan, "yours is nan"),
        ("theta_to_infinity", in_place, "you changed the network"),
        ("theta_to_infinity", lambda net: net, "the outputs differ"),
        ("theta_to_infinity", at(100.0), "the outputs differ"),
        ("theta_to_infinity", at(0.0), "the outputs differ"),
        ("theta_to_infinity", at(float("nan")), "the outputs differ"),
        (
            "theta_to_infinity",
            lambda net: nn.Sequential(nn.Linear(9, 1)),
            "applied to points, your function raised RuntimeError",
        ),
        ("theta_to_infinity", lambda net: nn.Sequential(*with_relu(net), nn.ReLU(), nn.ReLU()), "differ"),
        ("theta_to_infinity", lambda net: 3, "expected a network"),
        *((check, lambda *_: 1 / 0, "raised ZeroDivisionError") for check in ("relu_theta_mask", "sparsity_loss")),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message
    if outcome.picture is not None:
        assert outcome.picture().data


@pytest.mark.parametrize("check", ["relu_theta_mask", "clipped_maxmin_mask", "sparsity_loss", "theta_to_infinity"])
@pytest.mark.parametrize("empty", [None, ...])
def test_not_attempted(check, empty):
    assert getattr(ll.check, check)(lambda *_: empty).status == "not attempted"


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
    figure = ll.check.clipped_maxmin_mask(wrong_ends).picture()
    ends = [trace for trace in figure.data if trace.mode == "markers"]
    inputs, outputs = ends[:2], ends[2:]
    activation = ll.nets.ClippedMaxMin(1.0, -1.0)
    for before, after in zip(inputs, outputs, strict=True):
        z = torch.tensor([[before.x[0], before.y[0]]]).double()
        assert activation(z)[0].tolist() == [after.x[0], after.y[0]]
    assert outputs[0].x[0] != outputs[1].x[0]
