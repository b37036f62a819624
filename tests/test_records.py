"""What public functions give back has public names, and small public pieces do what they say."""

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.domains import Ball, Interval

NET, X = ll.nets.load("moons"), ll.training.moons().x_test[:2]
Y = NET(X).argmax(dim=1)


def test_what_functions_give_back():
    bound = ll.local_bound(NET, X, 0.1)
    assert isinstance(bound, ll.Bound)
    assert all(isinstance(block, ll.BlockBound) for block in bound.blocks)
    assert all(isinstance(block, ll.nets.Block) for block in ll.nets.read_blocks(NET, X.shape[1:]))
    assert isinstance(ll.exact_bound(NET, X[:1], 0.01), ll.Bound)
    assert isinstance(ll.certify_in_stages(NET, X, Y, 0.1), ll.Cascade)
    assert isinstance(ll.certified_accuracy(NET, X, Y, 0.1), ll.AccuracyTable)
    assert isinstance(ll.certified_accuracy(NET, X, Y, [0.1, 0.2]), ll.AccuracyTables)


def test_what_a_recipe_is_made_of():
    recipe = ll.training.recipe("moons")
    assert isinstance(recipe, ll.training.Recipe)
    objective: ll.training.Objective = recipe.objective
    loss = objective(NET, X, Y, 1.0, None)
    assert loss.dim() == 0
    assert 0 < recipe.schedule(1.0, 0, 10) <= 1


def test_digits_as_pictures():
    pictures, flat = ll.training.digit_images(), ll.training.digits()
    assert pictures.x_test.shape == (len(flat.x_test), 1, 8, 8)
    assert torch.equal(pictures.x_test.flatten(1), flat.x_test)
    assert torch.equal(pictures.y_train, flat.y_train)


def test_input_is_checked_and_taken_to_float64():
    assert ll.nets.check_input(NET, X.float()).dtype == torch.float64
    with pytest.raises(ll.InvalidInput, match="batch"):
        ll.nets.check_input(NET, X[0, 0])


def test_what_is_refused_is_told_what_is_supported():
    with pytest.raises(ll.UnsupportedLayer) as error:
        ll.local_bound(nn.Sequential(nn.Linear(2, 2), nn.Hardshrink()), X, 0.1)
    assert "docs/supported.md" in str(error.value)


class Double(ll.nets.Monotone):
    """2z: an activation of one's own."""

    def forward(self, z):
        return 2 * z

    def slopes(self, lower, upper):
        return torch.full_like(lower, 2.0), torch.full_like(lower, 2.0)


def test_an_activation_that_knows_its_image():
    lower, upper = Double().image(torch.tensor([-1.0]), torch.tensor([3.0]))
    assert (lower.item(), upper.item()) == (-2.0, 6.0)
    net = nn.Sequential(nn.Linear(2, 2), Double(), nn.Linear(2, 2)).double()
    wanted = torch.linalg.matrix_norm(2 * net[2].weight @ net[0].weight, 2)
    assert wanted <= ll.local_bound(net, X, 0.1).value[0]


@pytest.mark.parametrize("value", [1.23456, 9.9999, 1e-300, 7e200, 2.0, 0.0])
def test_rounding_for_print_errs_outward(value):
    assert float(ll.bounds.round_down(value)) <= value <= float(ll.bounds.round_up(value))
    assert float(ll.bounds.round_down(-value)) <= -value <= float(ll.bounds.round_up(-value))
    assert float(ll.bounds.round_up(value)) - float(ll.bounds.round_down(value)) <= 1e-3 * value


def test_the_default_box_lies_in_both():
    linear = ll.nets.read_blocks(NET, X.shape[1:])[0].linear
    radius = torch.tensor([0.1, 0.2]).double()
    center = ll.domains.Center(linear.apply(X), torch.zeros_like(linear.apply(X)))
    both = (Interval & Ball).start(X, radius).linear(linear).box(center)
    for one in (Interval, Ball):
        box = one.start(X, radius).linear(linear).box(center)
        assert (box.lower <= both.lower).all()
        assert (both.upper <= box.upper).all()


@pytest.mark.parametrize(("norm", "kind"), [(ll.bounds.CholeskyNorm(), "upper"), (ll.bounds.PowerNorm(50), "lower")])
def test_norms_of_the_one_pass(norm, kind):
    """A power iteration makes of the product neither an upper nor a lower bound."""
    found = ll.local_bound(NET, X, 0.1, norm=norm)
    exact = ll.local_bound(NET, X, 0.1)
    assert found.kind == ("upper" if kind == "upper" else "estimate")
    torch.testing.assert_close(found.value, exact.value, rtol=1e-2, atol=0)
    if kind == "upper":
        assert (found.value >= exact.value * (1 - 1e-9)).all()


@pytest.mark.parametrize("kind", ["sll", "cpl", "spectral", "aol", "cayley", "bro", "sandwich"])
def test_networks_of_one_kind(kind):
    torch.manual_seed(0)
    net = ll.layers.lipschitz_mlp(kind, 6, 3, depth=2).double()
    x, step = torch.randn(50, 6).double(), 1e-3 * torch.randn(50, 6).double()
    assert ((net(x + step) - net(x)).norm(dim=1) <= net[-1].lipschitz_bound() * step.norm(dim=1) * (1 + 1e-9)).all()
    with pytest.raises(ll.InvalidInput):
        ll.layers.lipschitz_mlp("dense", 6, 3, depth=2)


@pytest.mark.parametrize("size", [1e-160, 1.0, 1e160])
def test_a_scale_that_neither_overflows_nor_underflows(size):
    rows = size * torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double()
    unit, sizes, scale = ll.layers.condition.balanced_scale(rows)
    torch.testing.assert_close(sizes[:, None] * unit, rows, rtol=1e-14, atol=0)
    assert scale.isfinite().all()
    weighed = unit / scale.sqrt()[:, None]  # T ⪰ WᵀW, both divided by size
    assert torch.linalg.matrix_norm(weighed, 2) <= 1 + 1e-12
