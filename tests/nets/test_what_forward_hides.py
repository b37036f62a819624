"""Forward methods that a few random points would not give away."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import lliptools as ll


class Own(nn.Module):
    """A dense layer with the given numbers behind a function of the input."""

    def __init__(self, function, weight, bias):
        super().__init__()
        self.function, self.last = function, nn.Linear(len(weight[0]), len(weight)).double()
        self.last.weight.data, self.last.bias.data = torch.tensor(weight).double(), torch.tensor(bias).double()

    def forward(self, x):
        return self.last(self.function(x))


@pytest.mark.parametrize("threshold", [3, 4, 19.9])
def test_a_gate_that_jumps_is_no_mish(threshold):
    net = Own(lambda x: x * torch.tanh(softplus(x, 1, threshold)), [[1.0], [0.0]], [0.0, 0.0])
    with pytest.raises(ll.UnsupportedLayer, match=r"aten\.mul"):
        ll.local_bound(net, torch.tensor([[1.0]]).double(), 1e-3)


def test_a_gate_whose_jump_no_float_shows_is_mish():
    net = Own(lambda x: x * torch.tanh(softplus(x, 1, 20)), [[1.0], [0.0]], [0.0, 0.0])
    x = torch.linspace(-5, 25, 7).double()[:, None]
    mish = nn.Sequential(nn.Mish(), net.last)
    assert torch.equal(ll.local_bound(net, x, 0.1).value, ll.local_bound(mish, x, 0.1).value)


@pytest.mark.parametrize("count", [1, 3])
def test_a_forward_method_that_looks_at_the_number_of_points_is_refused(count):
    net = Own(lambda x: 10 * x if len(x) == count else x, [[1.0], [0.0]], [1.0, 0.0])
    with pytest.raises(ll.UnsupportedLayer, match="differs from what was read"):
        ll.local_bound(net, torch.ones(3, 1).double(), 0.5)


def test_a_forward_method_that_looks_for_a_graph_is_refused():
    net = Own(lambda x: 10 * x if torch.is_grad_enabled() else x, [[1.0], [0.0]], [1.0, 0.0])
    for x in (torch.ones(3, 1).double(), torch.ones(1, 1).double()):
        with pytest.raises(ll.UnsupportedLayer, match="differs from what was read"):
            ll.local_bound(net, x, 0.5)


class Remembers(nn.Module):
    """Computes twice the weight at the first call, and keeps it."""

    def __init__(self):
        super().__init__()
        self.linear, self.kept = nn.Linear(2, 2), None

    def forward(self, x):
        self.kept = 2 * self.linear.weight if self.kept is None else self.kept
        return x @ self.kept.T


@pytest.mark.parametrize("build", [Remembers, lambda: nn.Sequential(Remembers(), nn.Linear(2, 2))])
def test_what_a_forward_method_keeps_is_taken_away(build):
    net, x = build(), torch.rand(3, 2)
    ll.local_bound(net, x, 0.1)
    (part,) = (part for part in net.modules() if isinstance(part, Remembers))
    assert part.kept is None
    assert net(x).dtype == torch.float32


@pytest.mark.parametrize("pack", [lambda y: {"logits": y}, lambda y: [y], lambda y: (y,)])
def test_outputs_that_are_packed_are_refused(pack):
    packed = type("Packed", (Own,), {"forward": lambda self, x: pack(self.last(x))})
    with pytest.raises(ll.InvalidInput, match=r"one tensor from net\(x\); got a (dict|list|tuple)\. .*logits alone"):
        ll.local_bound(packed(None, torch.eye(2).tolist(), [0.0, 0.0]), torch.ones(1, 2).double(), 0.5)


def test_weights_that_are_summed_are_refused():
    """1e16 − 1 − 1e16 is −1, and 0 where it is rounded."""
    weight = torch.tensor([1e16, -1.0, -1e16]).double().view(1, 3, 1)
    net = Own(lambda x: torch.einsum("bi,ijk->bk", x, weight), [[1.0], [0.0]], [0.5, 0.0])
    with pytest.raises(ll.UnsupportedLayer):
        ll.local_bound(net, torch.zeros(1, 1).double(), 0.9)


def test_weights_one_by_one_are_read():
    weight = torch.tensor([[[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [3.0, 4.0]]]).double()
    net = Own(lambda x: torch.einsum("bi,ijk->bjk", x, weight).flatten(1), torch.eye(4).tolist(), [0.0] * 4)
    assert ll.global_bound(net, torch.zeros(1, 2).double()).value.item() == pytest.approx(5.0)


def test_outputs_that_no_input_reaches_are_refused():
    net = nn.Sequential(nn.ConvTranspose2d(1, 2, 3, output_padding=1, dilation=2), nn.Flatten(), nn.Linear(128, 2))
    assert net(torch.rand(1, 1, 3, 3)).shape == (1, 2)
    with pytest.raises(ll.UnsupportedLayer, match="output_padding below the stride"):
        ll.local_bound(net, torch.rand(1, 1, 3, 3), 0.1)


class Claims(ll.nets.Designed):
    def __init__(self, constant, rounding=0.0, *, width=2):
        super().__init__()
        self.constant, self.rounding, self.width = constant, rounding, width

    def chain(self, shape, dtype):
        map_ = ll.nets.LinearMap.dense(torch.ones(self.width, 2, dtype=dtype))
        return ll.nets.Chain((map_,), skip=self.width != 2, rounding=self.rounding)

    def lipschitz_bound(self):
        return ll.nets.Guarantee(self.constant, "every input")


@pytest.mark.parametrize(("constant", "rounding"), [(-1.0, 0.0), (math.nan, 0.0), (1.0, -2.0), (1.0, math.nan)])
def test_a_constant_below_zero_is_refused(constant, rounding):
    net = nn.Sequential(Claims(constant, rounding), nn.ReLU(), nn.Linear(2, 2)).double()
    with pytest.raises(ll.InvalidInput, match="at least 0 from lipschitz_bound"):
        ll.local_bound(net, torch.rand(1, 2).double(), 0.1)


def test_a_chain_that_is_added_to_its_input_keeps_the_shape():
    net = nn.Sequential(nn.Linear(2, 2), Claims(9.0, width=1)).double()
    assert net(torch.rand(1, 2).double()).shape == (1, 2)  # torch repeats the one output
    with pytest.raises(ll.InvalidInput, match="keeps the shape"):
        ll.local_bound(net, torch.rand(1, 2).double(), 0.1)


def test_one_point_that_loses_its_axis_is_read():
    squeezed = type("Squeezed", (Own,), {"forward": lambda self, x: self.last(x).squeeze()})
    net = squeezed(None, torch.eye(2).tolist(), [0.0, 0.0])
    x = torch.rand(3, 2).double()
    assert net(x[:1]).shape == (2,)
    assert ll.local_bound(net, x, 0.1).value.tolist() == pytest.approx([1.0] * 3)


def test_a_forward_method_that_takes_several_points_only_is_read():
    net = Own(lambda x: x if len(x) > 1 else x[1], torch.eye(2).tolist(), [0.0, 0.0])
    with pytest.raises(IndexError):
        net(torch.rand(1, 2).double())
    assert ll.local_bound(net, torch.rand(3, 2).double(), 0.1).value.tolist() == pytest.approx([1.0] * 3)
