"""A certificate takes a bound of this network at these points only, and labels of these points."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

import lliptools as ll


def dense(weight, bias):
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    layer.weight.data, layer.bias.data = torch.tensor(weight).double(), torch.tensor(bias).double()
    return layer


def bent(slope):
    """120 until x = 1, and from there on down by a slope, against 0."""
    return nn.Sequential(dense([[1.0]], [-1.0]), nn.ReLU(), dense([[-slope], [0.0]], [120.0, 0.0]))


NET, X = bent(100.0), torch.tensor([[2.0]]).double()
Y = torch.tensor([0])


def certified(bound, x=X):
    return ll.certify(NET, x, torch.zeros(len(x), dtype=torch.int64), 0.5, bound=lambda *given, **options: bound)


def test_the_point_is_false_at_this_radius():
    assert NET(X + 0.5)[0, 0] < 0


@pytest.mark.parametrize("name", [name for name in ll.BOUNDS if name not in ("global", "sampled")])
def test_a_bound_of_other_points_is_refused(name):
    others = torch.tensor([[0.0]]).double()
    with pytest.raises(ll.InvalidInput, match="other points"):
        certified(ll.BOUNDS[name](NET, others, 0.5))
    assert not certified(ll.BOUNDS[name](NET, X, 0.5)).holds


def test_a_large_point_beside_it_hides_nothing():
    x, others = torch.tensor([[2.0], [1e12]]).double(), torch.tensor([[0.0], [1e12]]).double()
    saved = ll.local_bound(NET, others, 0.5, centred=True)
    with pytest.raises(ll.InvalidInput, match="other points"):
        certified(saved, x)
    with pytest.raises(ll.InvalidInput, match="outputs are not net"):
        certified(replace(saved, points=x), x)


def test_points_with_the_same_outputs_are_other_points():
    x, others = torch.tensor([[0.9]]).double(), torch.tensor([[-9.0]]).double()
    assert torch.equal(NET(x), NET(others))
    with pytest.raises(ll.InvalidInput, match="points are not x"):
        certified(ll.local_bound(NET, others, 0.5), x)


def test_a_global_bound_of_another_network_is_refused():
    found = replace(ll.global_bound(bent(1e-3), X), eps=torch.tensor([0.5]).double())
    with pytest.raises(ll.InvalidInput, match="another network"):
        certified(found)


def flat_at_0(slope):
    """1 at x = 0, whatever the slope is, and 0 from x = 1/slope on."""
    return nn.Sequential(dense([[slope]], [1.0]), nn.ReLU(), dense([[-1.0], [0.0]], [2.0, 0.0]))


@pytest.mark.parametrize("name", [name for name in ll.BOUNDS if name != "sampled"])
def test_a_bound_of_the_network_before_it_was_trained_is_refused(name):
    net, x = flat_at_0(1e-3), torch.zeros(1, 1).double()
    saved = ll.BOUNDS[name](net, x, 1.0)
    assert ll.certify(deepcopy(net), x, Y, 1.0, bound=lambda *given: saved).holds
    net[0].weight.data.fill_(100.0)
    assert net(x).argmax() == 0
    assert net(x + 1.0).argmax() == 1
    with pytest.raises(ll.InvalidInput, match="other weights or activations"):
        ll.certify(net, x, Y, 1.0, bound=lambda *given: saved)


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_bound_of_another_threshold_is_refused(differentiable):
    net, x = flat_at_0(1.0), torch.zeros(1, 1).double()
    net[1] = ll.nets.ClippedReLU(1.0).double()
    saved = ll.local_bound(net, x, 1.0, differentiable=differentiable)
    assert ll.certify(net, x, Y, 0.5, bound=lambda *given: saved).holds
    net[1].theta.data.fill_(1e3)
    with pytest.raises(ll.InvalidInput, match="other weights or activations"):
        ll.certify(net, x, Y, 1.0, bound=lambda *given: saved)


def test_a_bound_does_not_follow_points_that_change():
    net, x = flat_at_0(100.0), torch.full((1, 1), -5.0).double()
    saved = ll.local_bound(net, x, 1.0)
    x.fill_(-0.1)  # the unit is still off at x, and not all over the ball
    assert (net(x).argmax(), net(x + 1.0).argmax()) == (0, 1)
    with pytest.raises(ll.InvalidInput, match="points are not x"):
        ll.certify(net, x, Y, 1.0, bound=lambda *given: saved)


def test_shells_compare_their_points():
    def bound(net, x, eps):
        return ll.local_bound(net, x - 2, eps) if len(x) > 1 else ll.local_bound(net, x, eps)

    with pytest.raises(ll.InvalidInput, match="other points"):
        ll.certify(NET, X, Y, 0.5, bound=bound, shells=4)
    with pytest.raises(ll.InvalidInput, match="other points"):
        ll.certified_radius(NET, X, Y, bound=bound, shells=4)


@pytest.mark.parametrize("y", [torch.zeros(3, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), None])
def test_stages_refuse_labels_of_other_points(y):
    with pytest.raises(ll.InvalidInput, match="expected y as an integer tensor"):
        ll.certify_in_stages(NET, X, y, 0.5)


def dented(depth):
    """1, but for a dent between 0.4 and 0.6, where no point lies at which networks are compared; against 0."""
    last = dense([[-depth * 10, depth * 20, -depth * 10], [0.0, 0.0, 0.0]], [1.0, 0.0])
    return nn.Sequential(dense([[1.0]] * 3, [-0.4, -0.5, -0.6]), nn.ReLU(), last, nn.LeakyReLU(0.1))


ORIGIN = torch.zeros(1, 1).double()
CHANGES = {
    "weights": lambda net: net.load_state_dict(dented(100.0).state_dict()),
    "data": lambda net: net[0].bias.data.sub_(1e-12),
    "slopes": lambda net: setattr(net[3], "negative_slope", 50.0),
    "layers": lambda net: net.append(nn.ReLU()),
}


def test_a_loader_that_loads_other_weights_is_refused():
    net = dented(0.1)

    def batches():
        yield ORIGIN, Y
        CHANGES["weights"](net)  # the next checkpoint
        yield ORIGIN, Y

    with pytest.raises(ll.InvalidInput, match="other weights"):
        ll.certified_accuracy(net, batches(), 1.0)
    assert net(ORIGIN + 0.5).argmax() == 1
    assert ll.certified_accuracy(net, [(ORIGIN, Y)], 1.0).certified == 0


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize("before", [True, False])
def test_a_bound_function_that_changes_the_network_is_refused(change, call, before):
    net, calls = dented(0.1), []

    def bound(net, x, eps):
        calls.append(eps)
        if before and len(calls) == call:
            CHANGES[change](net)
        found = ll.local_bound(net, x, eps)
        if not before and len(calls) == call:
            CHANGES[change](net)
        return found

    with pytest.raises(ll.InvalidInput, match="other weights"):
        ll.certified_radius(net, ORIGIN, Y, bound=bound)
    assert len(calls) >= call


def test_one_certificate_is_of_the_network_that_is_left():
    def bound(net, x, eps):
        found = ll.local_bound(net, x, eps)
        CHANGES["weights"](net)
        return found

    with pytest.raises(ll.InvalidInput, match="other weights"):
        ll.certify(dented(0.1), ORIGIN, Y, 1.0, bound=bound)


def test_a_bound_function_may_change_the_precision_and_leave_the_numbers():
    net, x = flat_at_0(0.5).float(), torch.zeros(1, 1)
    net[0].register_buffer("unused", torch.tensor([torch.nan]))
    assert ll.certify(net, x, Y, 1.0, bound=lambda net, x, eps: ll.local_bound(net.double(), x.double(), eps)).holds
