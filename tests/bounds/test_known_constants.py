"""Networks whose constants are known in closed form."""

import math

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.domains.block import Box

POINT = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_fold(depth):
    net = ll.nets.fold(3, depth)
    assert torch.equal(net(POINT), POINT)
    assert ll.global_bound(net, POINT).value.item() == pytest.approx(2**depth, rel=1e-12)
    assert ll.local_bound(net, POINT, 0.49).value.item() == pytest.approx(1, rel=1e-12)
    assert ll.local_bound(net, POINT, 0.51).value.item() == pytest.approx(2**depth, rel=1e-12)


def test_absolute_value_folded_twice():
    """|x| = relu(x) + relu(−x): the boxes of the second fold know that its inputs are not negative."""
    split = torch.cat([torch.eye(2), -torch.eye(2)]).double()
    layers: list[nn.Module] = []
    for _ in range(2):
        into, out = nn.Linear(2, 4, bias=False).double(), nn.Linear(4, 2, bias=False).double()
        into.weight.data, out.weight.data = split, split.T.abs()
        layers += [into, nn.ReLU(), out]
    net, x = nn.Sequential(*layers), torch.tensor([[1.0, -0.5]]).double()
    assert torch.equal(net(x), x.abs())
    assert ll.local_bound(net, x, 0.4).value.item() == pytest.approx(1, rel=1e-12)
    assert ll.local_bound(net, x, 0.6).value.item() == pytest.approx(2, rel=1e-12)
    assert ll.global_bound(net, x).value.item() == pytest.approx(4, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-5, 1.0, 1e5, 1e150])
def test_diagonal(scale):
    """diag(3, 2, 1) then a ReLU: the norm is the largest entry whose unit is not off."""
    first, last = nn.Linear(3, 3, bias=False).double(), nn.Linear(3, 3, bias=False).double()
    first.weight.data = scale * torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64).diag()
    last.weight.data = torch.eye(3).double()
    net = nn.Sequential(first, nn.ReLU(), last)
    for signs, truth in (((1, 1, 1), 3), ((-1, 1, 1), 2), ((-1, -1, 1), 1), ((-1, -1, -1), 0)):
        x = torch.tensor([signs]).double()
        bound = ll.local_bound(net, x, 0.5)
        assert bound.value.item() == pytest.approx(truth * scale, rel=1e-12)
        assert bound.pairwise(torch.tensor([0]))[0, 0] == 0
    assert ll.global_bound(net, x).value.item() == pytest.approx(3 * scale, rel=1e-12)


def test_clipped_units_are_constant_at_theta():
    layer, last = nn.Linear(2, 2, bias=False).double(), nn.Linear(2, 2, bias=False).double()
    layer.weight.data, last.weight.data = torch.eye(2).double(), torch.eye(2).double()
    net = nn.Sequential(layer, ll.nets.ClippedReLU(torch.tensor([0.3, 2.0])), last)
    bound = ll.local_bound(net, torch.tensor([[1.0, 1.0]]).double(), 0.5)
    assert bound.blocks[0].slope.tolist() == [[0.0, 1.0]]
    assert bound.blocks[0].output.lower.tolist()[0][0] == pytest.approx(0.3, rel=1e-6)
    assert bound.value.item() == 1.0


def test_infinite_threshold_is_the_relu():
    torch.manual_seed(0)
    relu = ll.nets.mlp(3, 9, 7, 4).double()
    layers = [ll.nets.ClippedReLU(math.inf) if isinstance(layer, nn.ReLU) else layer for layer in relu]
    x = torch.randn(5, 3, dtype=torch.float64)
    one, other = ll.local_bound(relu, x, 0.2), ll.local_bound(nn.Sequential(*layers), x, 0.2)
    assert torch.equal(one.value, other.value)
    assert torch.equal(one.blocks[1].box.lower, other.blocks[1].box.lower)


def test_lower_thresholds_leave_fewer_units_varying():
    torch.manual_seed(0)
    net = ll.nets.mlp(3, 20, 4, activation="clipped_relu").double()
    x = torch.randn(8, 3, dtype=torch.float64)
    before = torch.ones(8, 20, dtype=torch.bool)
    for theta in (math.inf, 1.0, 0.3, 0.1, 0.0):
        net[1].theta.data.fill_(theta)
        varying = ll.local_bound(net, x, 0.1).blocks[0].slope > 0
        assert (varying <= before).all()
        before = varying
    assert not before.any()


def test_consecutive_linear_layers_are_one_matrix():
    first, second = nn.Linear(2, 2, bias=False).double(), nn.Linear(2, 2, bias=False).double()
    first.weight.data = torch.tensor([5.0, 1.0], dtype=torch.float64).diag()
    second.weight.data = torch.tensor([0.2, 1.0], dtype=torch.float64).diag()
    bound = ll.global_bound(nn.Sequential(first, second), torch.zeros(1, 2).double())
    assert len(bound.blocks) == 1
    assert bound.value.item() == pytest.approx(1.0, rel=1e-12)


def test_overflow_opens_boxes_and_never_certifies():
    torch.manual_seed(0)
    net = ll.nets.mlp(2, 4, 4, 2).double()
    for parameter in net.parameters():
        parameter.data.mul_(1e200)
    x = torch.ones(1, 2).double()
    bound = ll.local_bound(net, x, 1.0)
    assert bound.value.item() == math.inf
    assert not ll.certify(net, x, torch.tensor([0]), 1e-300).holds.any()
    assert not bound.blocks[1].box.lower.isnan().any()


def test_a_side_of_a_box_that_is_no_number_is_open():
    box = Box.outward(torch.tensor([[math.nan, 1.0]]), torch.tensor([[2.0, math.nan]]))
    assert box.lower.tolist() == [[-math.inf, 1.0]]
    assert box.upper.tolist() == [[2.0, math.inf]]


def plain(*weights, biases=None):
    """A float64 ReLU network of given matrices."""
    layers: list[nn.Module] = []
    for k, weight in enumerate(weights):
        W = torch.tensor(weight, dtype=torch.float64)
        layer = nn.Linear(W.shape[1], W.shape[0]).double()
        layer.weight.data, layer.bias.data = W, torch.zeros(W.shape[0], dtype=torch.float64)
        if biases and biases[k]:
            layer.bias.data = torch.tensor(biases[k], dtype=torch.float64)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_a_residual_step_adds_its_input():
    """h + W h with W = diag(1, 3) stretches by 4."""
    layer = nn.Linear(2, 2, bias=False).double()
    layer.weight.data = torch.tensor([1.0, 3.0], dtype=torch.float64).diag()
    net, x = nn.Sequential(ll.nets.Residual(nn.Sequential(layer))), torch.zeros(1, 2).double()
    for bound in (ll.local_bound(net, x, 0.1), ll.global_bound(net, x)):
        assert bound.value.item() == pytest.approx(4, rel=1e-12)


def test_branches_that_add_up():
    """relu(W h) + V h with W = diag(1, 3) and V = diag(0, 2), or h in its place, stretches by 5, or 4, at (1, 1)."""
    one, other = (nn.Linear(2, 2, bias=False).double() for _ in range(2))
    one.weight.data = torch.tensor([1.0, 3.0], dtype=torch.float64).diag()
    other.weight.data = torch.tensor([0.0, 2.0], dtype=torch.float64).diag()
    x, block = torch.ones(1, 2).double(), nn.Sequential(one, nn.ReLU())
    for shortcut, constant in ((None, 4), (nn.Sequential(other), 5), (nn.Sequential(other, nn.ReLU()), 5)):
        net = nn.Sequential(ll.nets.Residual(block, shortcut))
        for bound in (ll.local_bound(net, x, 0.1), ll.global_bound(net, x), ll.merged_bound(net, x, 0.1)):
            assert bound.value.item() == pytest.approx(constant, rel=1e-9)
        assert ll.sampled_bound(net, x, 0.1).value.item() == pytest.approx(constant, rel=1e-9)


def test_one_constant_output_of_a_pair_strikes_no_row():
    """Of a pair around (0, 3) the larger is constant at 1, and the smaller is the first input, whose row is longer."""
    layer = nn.Linear(2, 2, bias=False).double()
    layer.weight.data = torch.tensor([2.0, 1.0], dtype=torch.float64).diag()
    net = nn.Sequential(layer, ll.nets.ClippedMaxMin(1.0, -1.0))
    bound = ll.local_bound(net, torch.tensor([[0.0, 3.0]]).double(), 0.1)
    assert bound.blocks[0].slope.tolist() == [[0.0, 1.0]]
    assert bound.value.item() == pytest.approx(2, rel=1e-12)


def test_a_product_that_underflows_is_not_zero():
    """Slope 1 as a product of 1e-200 · 1e-200 · 1e200 · 1e200."""
    net = plain([[1e-200]], [[1e-200]], [[1e200]], [[1e200], [0.0]], biases=[None, None, None, [0.0, 1e299]])
    x, y = torch.tensor([[1e298]], dtype=torch.float64), torch.tensor([1])
    assert ll.global_bound(net, x).value.item() >= 1
    assert ll.local_bound(net, x, 1e300).value.item() >= 1
    assert not ll.certify(net, x, y, 1e300).holds.item()
    assert ll.certified_radius(net, x, y).item() < 1e299


TINY_WEIGHTS = {
    "halves of subnormal boxes": ([[1.0]], [[5e-324]], [[1e300]], [[0.0], [1e300]]),
    "boxes that become subnormal": ([[2.5e-162]], [[2.5e-162]], [[1e300]], [[0.0], [1e300]]),
    "balls that underflow": ([[1e-200]], [[1e-200]], [[1e200]], [[0.0], [1e200]]),
}


@pytest.mark.parametrize("weights", TINY_WEIGHTS.values(), ids=TINY_WEIGHTS)
def test_boxes_that_underflow_strike_nothing(weights):
    net = plain(*weights, biases=[None, None, None, [1.0, 0.0]])
    x, y = torch.zeros(1, 1).double(), torch.tensor([0])
    assert ll.local_bound(net, x, 100.0).value.item() > 0
    assert not ll.certify(net, x, y, 100.0).holds.item()


def test_layers_whose_product_underflows_are_refused():
    small, large = nn.Linear(1, 1).double(), nn.Linear(1, 2).double()
    small.weight.data = torch.tensor([[1e-200]], dtype=torch.float64)
    large.weight.data = torch.tensor([[1e-200], [0.0]], dtype=torch.float64)
    with pytest.raises(ll.InvalidInput, match="products of layers above"):
        ll.global_bound(nn.Sequential(small, large), torch.zeros(1, 1).double())


def test_a_row_far_smaller_than_the_others_keeps_its_norm():
    net = plain([[1.0], [1e-200]], [[0.0, 1e200], [0.0, 0.0]], biases=[[0.0, -1e-201], [0.0, 0.5]])
    x = torch.tensor([[0.0]]).double()
    assert ll.local_bound(net, x, 1.0).value.item() >= 1
    assert not ll.certify(net, x, torch.tensor([1]), 1.0).holds.item()


def test_rows_of_the_head_far_smaller_than_the_others_keep_their_difference():
    net = plain([[1e200, 0.0], [0.0, 0.0]], [[1e-200, 0.0], [0.0, 0.0], [0.0, 1.0]], biases=[None, [0.0, 0.5, 0.1]])
    x = torch.zeros(1, 2).double()
    assert ll.local_bound(net, x, 1.0).pairwise(torch.tensor([1]))[0, 0].item() == pytest.approx(1.0, rel=1e-12)
    assert not ll.certify(net, x, torch.tensor([1]), 1.0).holds.item()


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_sum_that_overflows_is_not_clipped_to_a_number(size):
    """The exact pre-activation is 0, its partial sums are not finite; a clip would make θ of them."""
    layer, head = nn.Linear(size, 1, bias=False).double(), nn.Linear(1, 2).double()
    layer.weight.data = torch.cat([torch.ones(1, size // 2), -torch.ones(1, size // 2)], dim=1).double()
    head.weight.data, head.bias.data = torch.tensor([[1.0], [0.0]]).double(), torch.tensor([0.0, 0.5]).double()
    net = nn.Sequential(layer, ll.nets.ClippedReLU(1.0), head)
    x = torch.full((1, size), 1.7e308, dtype=torch.float64)
    for label in (0, 1):
        assert not ll.certify(net, x, torch.tensor([label]), 0.1).holds.item()
        assert ll.certified_radius(net, x, torch.tensor([label])).item() == 0.0


def test_a_radius_below_the_spacing_of_the_numbers_is_not_rounded_away():
    net = plain([[1.0]], [[1e20], [0.0]], biases=[[-1.0], [0.0, 0.5]])
    x = torch.tensor([[1.0]]).double()
    assert ll.local_bound(net, x, 1e-17).value.item() == pytest.approx(1e20)
    assert not ll.certify(net, x, torch.tensor([1]), 1e-17).holds.item()


def test_struck_columns_narrow_the_ball():
    """Unit 1 reads 3·h₁ + 4·h₂ at h = (1, off): its ball has the radius of 3·h₁ alone, not 5."""
    net = plain([[1.0, 0.0], [0.0, 1.0]], [[3.0, 4.0]], [[1.0]])
    x = torch.tensor([[1.0, -1.0]]).double()
    box = ll.local_bound(net, x, 0.5, domain=ll.domains.Ball).blocks[1].box
    assert (box.lower.item(), box.upper.item()) == pytest.approx((3 - 1.5, 3 + 1.5), rel=1e-12)


def test_a_bound_is_a_record_that_later_training_does_not_touch():
    net = plain([[1.0, 2.0]], [[3.0], [1.0]])
    bound, y = ll.local_bound(net, torch.ones(1, 2).double(), 0.1), torch.tensor([0])
    before = bound.pairwise(y).clone()
    assert not before.requires_grad
    for parameter in net.parameters():
        parameter.data.mul_(0.0)
    assert torch.equal(bound.pairwise(y), before)


def test_table_of_a_bound():
    text = str(ll.local_bound(ll.nets.fold(3, 1), POINT, 0.49))
    assert text.splitlines()[0] == "upper bound 1 at eps = 0.49"
    assert "3×3 of 6×3" in text
    assert "mean over 2 points" in str(ll.global_bound(ll.nets.fold(3, 1), POINT.expand(2, 3)))
