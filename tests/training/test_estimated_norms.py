from functools import partial

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds import exact_norm
from lliptools.domains import Light
from lliptools.nets import ClippedReLU, LinearMap, Residual, read_blocks
from lliptools.training import SharedNorm


def small_cnn(dtype=torch.float64):
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(2, 6, 3, padding=1), ClippedReLU(torch.full((6, 1, 1), 0.3))),
        *(nn.Conv2d(6, 8, 4, stride=2, padding=1), nn.AvgPool2d(2), ClippedReLU(0.3)),
        *(nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 5)),
    ).to(dtype)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.mul_(3.0)
    return net


def images(batch=16, dtype=torch.float64):
    return torch.rand(batch, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)


def residual():
    torch.manual_seed(2)
    inside = nn.Sequential(nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 9))
    return nn.Sequential(nn.Linear(4, 9), ClippedReLU(0.4), Residual(inside), nn.Linear(9, 3)).double()


NETWORKS = {
    "digits": (lambda: ll.nets.load("digits-clipped"), lambda: ll.training.digits().x_test[:16], 0.1),
    "convolutions": (small_cnn, images, 0.05),
    "residual": (residual, lambda: torch.rand(16, 4, generator=torch.Generator().manual_seed(3)).double(), 0.1),
}


def maps(blocks):
    return [linear for block in blocks for linear in (maps(block.inner) if block.inner else [block])]


@pytest.mark.parametrize("name", NETWORKS)
def test_from_below_and_close_after_many_passes(name):
    build, points, eps = NETWORKS[name]
    net, x = build(), points()
    exact = ll.local_bound(net, x, eps, norm=exact_norm)
    seen = []

    def both(linear, row_slope, column_slope):
        truth, found = exact_norm(linear, row_slope, column_slope), norm(linear, row_slope, column_slope)
        assert (found <= truth * (1 + 1e-12)).all()
        seen.append(torch.where(truth > 0, found / truth, 1.0))
        return truth

    norm = SharedNorm(4)
    both.begin = lambda blocks: norm.begin(blocks) and both
    torch.manual_seed(0)
    for _ in range(40):
        seen.clear()
        ll.local_bound(net, x, eps, norm=both)
    assert len(seen) == len(maps(exact.blocks)) == len(norm.vectors)
    assert torch.stack(seen).mean(dim=1).min() > 0.99


def test_nothing_left_and_slopes_between_0_and_1():
    linear = LinearMap.dense(torch.tensor([[3.0, 0.0], [0.0, 2.0]]).double())
    norm = SharedNorm(3)
    one, first = torch.ones(1, 2).double(), torch.tensor([[1.0, 0.0]]).double()
    assert norm(linear, torch.zeros(1, 2).double(), one).item() == 0
    assert norm(linear, one, torch.zeros(1, 2).double()).item() == 0
    assert norm(linear, one, first).item() == pytest.approx(3.0)
    half = torch.tensor([[0.25, 1.0]]).double()
    assert norm(linear, half, one).item() == pytest.approx(2.0)  # max(3 · √¼, 2)
    assert norm(linear, half, half).item() == pytest.approx(2.0)
    assert not norm.vectors  # a map of no network


def test_gradient_by_finite_differences():
    torch.manual_seed(0)
    weight = torch.randn(5, 4).double().requires_grad_()
    row, column = torch.tensor([[1.0, 1, 0, 1, 1], [1, 0.5, 1, 0, 1]]).double(), torch.ones(2, 4).double()
    column[1, 2] = 0
    norm = SharedNorm(3)  # as many as there are columns: the vectors have converged

    def total(matrix):
        return norm(LinearMap.dense(matrix), row, column).sum()

    (gradient,) = torch.autograd.grad(total(weight), weight)
    for index in ((0, 0), (1, 2), (3, 1), (4, 3)):
        moved = torch.zeros_like(weight)
        moved[index] = 1e-6
        with torch.no_grad():
            exact = partial(exact_norm, row_slope=row, column_slope=column)
            rise = (exact(LinearMap.dense(weight + moved)) - exact(LinearMap.dense(weight - moved))).sum() / 2e-6
        assert gradient[index].item() == pytest.approx(rise.item(), abs=5e-3)


def test_gradient_is_that_of_held_vectors():
    net, x = small_cnn(), images()
    norm = SharedNorm(30)
    ll.local_bound(net, x, 0.05, norm=norm)
    gradients = []
    for chosen in (norm, exact_norm):
        bound = ll.local_bound(net, x, 0.05, norm=chosen, differentiable=True)
        gradients.append(torch.autograd.grad(bound.value.sum(), [net[0].weight, net[6].weight, net[8].weight]))
    for found, truth in zip(*gradients, strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-3, atol=1e-3 * truth.abs().max().item())


def test_state_goes_on_bit_by_bit():
    net, x = small_cnn(torch.float32), images(dtype=torch.float32)
    norm, other = SharedNorm(), SharedNorm()

    def value(chosen, points):
        return ll.training.estimated_bound(net, points, 0.05, chosen).value

    value(norm, x)
    state = norm.state_dict()
    assert list(state) == ["0", "1", "2", "3"]
    other.load_state_dict(state)
    for points in (x, x[:3], x[5:]):
        assert torch.equal(value(norm, points), value(other, points))
    again = SharedNorm()
    again.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), state.values(), strict=True))
    torch.manual_seed(7)
    first = value(SharedNorm(), x)
    torch.manual_seed(7)
    assert torch.equal(first, value(SharedNorm(), x))


def test_samples_of_a_group_share_the_root_mean_square_of_their_slopes():
    torch.manual_seed(0)
    weight = torch.randn(7, 5).double()
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 5)).double()
    net[0].weight.data = weight
    blocks, norm = read_blocks(net, (5,)), SharedNorm(5)
    groups = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]])  # and one without samples
    row, column = torch.rand(4, 7).double(), torch.rand(4, 5).double()
    norm.begin(blocks, groups)
    found = norm(blocks[0].linear, row, column)
    for members in ([0, 2], [1, 3]):
        shared_row, shared_column = (slope[members].square().mean(dim=0).sqrt() for slope in (row, column))
        scaled = shared_row.sqrt()[:, None] * weight * shared_column.sqrt()
        torch.testing.assert_close(found[members], torch.linalg.matrix_norm(scaled, 2).expand(2))
    assert norm.vectors[0].shape == (3, 5)


def test_a_vector_moves_once_a_pass():
    net, x = small_cnn(), images()
    norm = SharedNorm()
    bound = ll.local_bound(net, x, 0.05, norm=norm)
    state = norm.state_dict()
    str(bound)  # asks for the norms of whole layers
    assert all(torch.equal(a, b) for a, b in zip(norm.state_dict().values(), state.values(), strict=True))
    ll.global_bound(net, x, norm=norm)
    assert not torch.equal(norm.state_dict()["1"], state["1"])
    blocks = read_blocks(net, x.shape[1:])
    assert len(norm.vectors) == len(blocks)


def test_estimates_certify_nothing():
    net, x, y = small_cnn(), images(), torch.zeros(16, dtype=torch.int64)
    bound = ll.local_bound(net, x, 0.05, norm=SharedNorm())
    assert bound.kind == "estimate"
    assert ll.local_bound(net, x, 0.05, domain=Light).kind == "estimate"
    with pytest.raises(ll.InvalidInput, match="estimate"):
        ll.certify(net, x, y, 0.05, bound=partial(ll.local_bound, norm=SharedNorm()))


def test_refusals():
    norm = SharedNorm()
    ll.local_bound(small_cnn(), images(), 0.05, norm=norm)
    with pytest.raises(ll.InvalidInput, match="two networks"):
        ll.local_bound(residual(), torch.rand(2, 4).double(), 0.05, norm=norm)
    for steps in (0, 1.5, True):
        with pytest.raises(ll.InvalidInput, match="steps"):
            SharedNorm(steps)


@pytest.mark.parametrize("name", NETWORKS)
def test_light_boxes_contain_the_usual_ones(name):
    build, points, eps = NETWORKS[name]
    net, x = build(), points()
    usual, light = ll.local_bound(net, x, eps, differentiable=True), ll.local_bound(net, x, eps, domain=Light)
    torch.testing.assert_close(usual.outputs, net(x), rtol=1e-12, atol=1e-12)
    assert usual.outputs.requires_grad
    for other, tight in zip(light.blocks, usual.blocks, strict=True):
        assert (other.box.lower <= tight.box.lower + 1e-12).all()
        assert (other.box.upper >= tight.box.upper - 1e-12).all()
    assert (light.value >= usual.value * (1 - 1e-12)).all()
