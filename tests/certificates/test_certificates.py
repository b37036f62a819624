"""Certificates hold against attacks; ties, NaN and overflow never certify; radii are certified themselves."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
from networks import NETWORKS, in_ball, points
from torch import nn

import lliptools as ll
from lliptools.certificates.attacks import pgd
from lliptools.certificates.margins import smallest_margin
from lliptools.domains.block import Box

UPPER = [name for name in ll.BOUNDS if name not in ("exact", "sampled")]
FINE = ("relu", "float32", "clipped maxmin", "convolutional, clipped by channel", "residual, clipped")


def labelled(net, count=12):
    x = points(net, count)
    logits = copy.deepcopy(net).double()(x.double())
    return x, logits.argmax(dim=1)


def tolerance(name, rung):
    """How far radii are narrowed: fine for one network of each kind, and wherever that costs little."""
    return 1e-6 if name in FINE or rung in ("global", "local") else 1e-2


@functools.cache
def certified(name, rung):
    """Network, points, labels and certified radii, for more than one test; the same for every bound."""
    torch.manual_seed(0)
    net = NETWORKS[name]()
    x, y = labelled(net, 8)
    return net, x, y, ll.certified_radius(net, x, y, bound=ll.BOUNDS[rung], tolerance=tolerance(name, rung))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_no_attack_breaks_a_certified_radius(name):
    """Samples of the ball of every bound; attacks, which cost more, in the largest: the others lie within it."""
    net, x, y, _ = certified(name, "global")
    exact = copy.deepcopy(net).double()
    radii = torch.stack([certified(name, rung)[3] for rung in UPPER])
    radii = torch.where(radii.isfinite(), radii, 0.0)
    for k in range(len(x)):
        for eps in radii[radii[:, k] > 0, k].tolist():
            samples = in_ball(x[k], eps, 300)
            assert (smallest_margin(exact(samples), y[k].expand(300)) > 0).all()
        if k % 2 and (eps := radii[:, k].max().item()) > 0:
            attacked = pgd(net, x[k : k + 1], y[k : k + 1], eps, steps=20, restarts=2)
            assert smallest_margin(exact(attacked), y[k : k + 1]).item() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_radius_is_certified_and_the_largest(name):
    for rung in UPPER:
        (net, x, y, radius), bound = certified(name, rung), ll.BOUNDS[rung]
        inside = (radius > 0) & (radius < 1e299)  # where nothing larger was tried
        if inside.any():
            assert ll.certify(net, x[inside], y[inside], radius[inside], bound=bound).holds.all()
            above = radius[inside] * (1 + 10 * tolerance(name, rung))
            assert not ll.certify(net, x[inside], y[inside], above, bound=bound).holds.any()
    by_global, by_local = (certified(name, rung)[3] for rung in ("global", "local"))
    assert (by_local >= by_global * (1 - 2e-6)).all()


def test_linear_network_certificate_is_the_true_distance():
    """For an affine map the margin's hyperplane is at exactly margin / ‖w_y − w_j‖."""
    torch.manual_seed(0)
    net = ll.nets.mlp(5, 4).double()
    x = torch.randn(20, 5, dtype=torch.float64)
    y = net(x).argmax(dim=1)
    W, logits = net[0].weight, net(x)
    others = [[j for j in range(4) if j != label] for label in y.tolist()]
    distance = torch.tensor(
        [min(((logits[k, y[k]] - logits[k, j]) / (W[y[k]] - W[j]).norm()).item() for j in others[k]) for k in range(20)]
    )
    torch.testing.assert_close(ll.certified_radius(net, x, y), distance.double(), rtol=2e-6, atol=0)


def test_ties_do_not_certify():
    net = nn.Sequential(nn.Linear(2, 3))
    net[0].weight.data, net[0].bias.data = torch.zeros(3, 2), torch.tensor([1.0, 1.0, 0.0])
    x = torch.zeros(3, 2)
    certificate = ll.certify(net, x, torch.tensor([0, 1, 2]), 0.0)
    assert certificate.holds.tolist() == [False, False, False]
    assert not ll.certify(net, x, torch.tensor([0, 1, 2]), 0.0, outward=False).holds.any()
    assert certificate.margin.tolist() == [0.0, 0.0, -1.0]
    assert ll.certified_radius(net, x, torch.tensor([0, 1, 2])).tolist() == [0.0, 0.0, 0.0]


def test_a_margin_that_is_just_used_up_does_not_certify():
    net = nn.Sequential(nn.Linear(1, 2, bias=False)).double()
    net[0].weight.data = torch.tensor([[1.0], [-1.0]]).double()
    x, y = torch.tensor([[1.0]]).double(), torch.tensor([0])
    assert not ll.certify(net, x, y, 1.0).holds.item()
    assert ll.certify(net, x, y, 1 - 1e-9).holds.item()


def test_a_constant_network_is_certified_everywhere():
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].weight.data, net[0].bias.data = torch.zeros(2, 2), torch.tensor([1.0, 0.0])
    assert ll.certified_radius(net, torch.zeros(2, 2), torch.tensor([0, 1])).tolist() == [torch.inf, 0.0]


def test_numbers_that_are_not_finite_never_certify():
    net = NETWORKS["relu"]()
    x, y = labelled(net)
    assert ll.certify(net, x, y, 1e-6).holds.all()

    def broken(value):
        def bound(net, x, eps):
            found = ll.local_bound(net, x, eps)
            boxes = [Box(torch.full_like(b.box.lower, -value), torch.full_like(b.slope, value)) for b in found.blocks]
            blocks = tuple(
                replace(b, norm=torch.full_like(b.norm, value), box=box)
                for b, box in zip(found.blocks, boxes, strict=True)
            )
            return ll.Bound(torch.full_like(found.value, value), "upper", found.eps, blocks)

        return bound

    for value in (torch.nan, torch.inf):
        assert not ll.certify(net, x, y, 1e-6, bound=broken(value)).holds.any()
    assert not ll.certify(net, x, y, torch.inf).holds.any()
    large = ll.nets.mlp(3, 8, 2).double()
    large[2].bias.data = torch.tensor([1e308, -1e308]).double()
    large[2].weight.data.mul_(0.0)
    large[2].bias.data.mul_(10.0)
    with pytest.raises(ll.InvalidInput, match="finite parameters"):
        ll.certify(large, x, y, 0.1)


def test_a_rung_cannot_change_the_radius():
    net = NETWORKS["relu"]()
    x, y = labelled(net)

    def smaller(net, x, eps):
        return ll.local_bound(net, x, eps / 10)

    def smaller_once(net, x, eps):
        return ll.local_bound(net, x, torch.tensor([eps / 10] + [eps] * (len(x) - 1)))

    for bound in (smaller, smaller_once):
        with pytest.raises(ll.InvalidInput, match="ball of radius"):
            ll.certify(net, x, y, 0.1, bound=bound)
    with pytest.raises(ll.InvalidInput, match="ball of radius"):
        ll.certified_radius(net, x, y, bound=smaller)
    for eps in (-1, torch.nan):
        with pytest.raises(ll.InvalidInput, match="eps >= 0"):
            ll.certify(net, x, y, eps, bound=lambda net, x, eps: ll.local_bound(net, x, 0.001))
    larger = ll.certify(net, x, y, 0.1, bound=lambda net, x, eps: ll.global_bound(net, x))
    assert torch.equal(larger.holds, ll.certify(net, x, y, 0.1, bound=ll.global_bound).holds)


def test_a_radius_without_an_end():
    """relu(−relu(x) − 1) is 0 everywhere, which the local bound sees at every radius and the global bound does not."""
    layers = [nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)]
    values = (([[1.0]], [0.0]), ([[-1.0]], [-1.0]), ([[0.0], [1.0]], [1.0, 0.0]))
    for layer, (weight, bias) in zip(layers[::2], values, strict=True):
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    net, y = nn.Sequential(*layers), torch.tensor([0])
    assert ll.certify(net, torch.zeros(1, 1), y, 1e300, outward=False).holds.item()
    # With rounding enclosed the radius ends where −R − 1 can no longer be told from −R.
    assert 1e14 < ll.certified_radius(net, torch.zeros(1, 1), y).item() < 1e17


@pytest.mark.slow
def test_a_radius_far_beyond_the_global_one():
    """fold 24 times: the global radius is 2^−24 of the local one; the truth is 3/√2."""
    net, x, y = ll.nets.fold(2, 24), torch.tensor([[1.0, -2.0]]), torch.tensor([0])
    assert 1.0 - 2e-6 <= ll.certified_radius(net, x, y).item() <= 3 / 2**0.5


def test_a_radius_where_the_global_bound_overflows():
    """A unit of slope 1e400 far away; near the point it is off."""
    first, second, head = nn.Linear(2, 3).double(), nn.Linear(3, 3, bias=False).double(), nn.Linear(3, 2).double()
    first.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1e200, 0.0]], dtype=torch.float64)
    first.bias.data = torch.tensor([5.0, 5.0, -1e202], dtype=torch.float64)
    second.weight.data = torch.tensor([1.0, 1.0, 1e200], dtype=torch.float64).diag()
    head.weight.data = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    head.bias.data.zero_()
    net, x, y = (
        nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), head),
        torch.tensor([[3.0, 1.0]]).double(),
        torch.tensor([0]),
    )
    assert ll.global_bound(net, x).value.item() == torch.inf
    assert ll.certified_radius(net, x, y).item() == pytest.approx(2**0.5, rel=2e-6)


def test_a_constant_margin_certifies_at_any_radius():
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].weight.data, net[0].bias.data = torch.zeros(2, 2), torch.tensor([1.0, 0.0])
    assert ll.certify(net, torch.zeros(2, 2), torch.tensor([0, 1]), torch.inf).holds.tolist() == [True, False]


@pytest.mark.parametrize("bound", ["local", None])
def test_a_rung_is_a_function(bound):
    net = NETWORKS["relu"]()
    with pytest.raises(ll.InvalidInput, match="function"):
        ll.certify(net, *labelled(net), 0.1, bound=bound)


@pytest.mark.parametrize("tolerance", [None, 1, 1e-300, 0.0, 1.0, -1e-6, float("nan")])
def test_bad_tolerance(tolerance):
    net = NETWORKS["relu"]()
    with pytest.raises(ll.InvalidInput, match="tolerance"):
        ll.certified_radius(net, *labelled(net), tolerance=tolerance)


@pytest.mark.parametrize("effort", [{"steps": 0}, {"steps": -1}, {"restarts": 0}])
def test_an_attack_does_something(effort):
    net = NETWORKS["relu"]()
    with pytest.raises(ll.InvalidInput, match="at least one step"):
        pgd(net, *labelled(net), 0.1, **effort)


@pytest.mark.parametrize("eps", [True, -1.0, float("nan"), float("inf"), torch.full((12,), 0.1), None])
def test_attacks_take_one_finite_radius(eps):
    net = NETWORKS["relu"]()
    x, y = labelled(net)
    for call in (lambda: pgd(net, x, y, eps), lambda: ll.certified_accuracy(net, x, y, eps)):
        with pytest.raises(ll.InvalidInput, match="one finite number"):
            call()


def test_attacks_leave_the_points_and_the_network_alone():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2))
    x, y = torch.tensor([[-1.0, 2.0, -3.0]]), torch.tensor([0])
    ll.certified_accuracy(net, x, y, 0.1)
    assert x.tolist() == [[-1.0, 2.0, -3.0]]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("kind", ["lower", "estimate"])
def test_only_upper_bounds_certify(kind):
    def bound(net, x, eps):
        found = ll.local_bound(net, x, eps)
        return ll.Bound(found.value, kind, found.eps, found.blocks)

    net = NETWORKS["relu"]()
    x, y = labelled(net)
    with pytest.raises(ll.InvalidInput, match=kind):
        ll.certify(net, x, y, 0.1, bound=bound)
    with pytest.raises(ll.InvalidInput, match=kind):
        ll.certified_radius(net, x, y, bound=bound)


def test_record():
    net = NETWORKS["relu"]()
    x, y = labelled(net)
    certificate = ll.certify(net, x, y, 0.05)
    assert torch.equal(certificate.holds, certificate.worst_margin > 0)
    assert (certificate.worst_margin <= certificate.margin).all()
    assert certificate.bound.kind == "upper"
    assert "float64" in certificate.bound.arithmetic
    assert certificate.eps.tolist() == [0.05] * len(x)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits-clipped", "digits-relu", "moons"])
def test_certified_attacked_clean_come_in_this_order(name):
    data, net = ll.training.recipe(name).data(), ll.nets.load(name)
    x, y = data.x_test[:80], data.y_test[:80]
    for eps in (0.0, 0.05, 0.3):
        by_local = ll.certified_accuracy(net, x, y, eps)
        by_global = ll.certified_accuracy(net, x, y, eps, bound=ll.global_bound)
        assert by_global.certified <= by_local.certified <= by_local.attacked <= by_local.clean


def test_attack_stays_in_the_ball_and_finds_what_is_there():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).double()
    net[1].weight.data = torch.tensor([[1.0, 1, 1, 1], [-1.0, -1, -1, -1]]).double()
    x, y = torch.full((1, 2, 2), 0.5).double(), torch.tensor([0])
    adversarial = pgd(net, x, y, 1.0)
    assert (adversarial - x).norm() <= 1.0
    torch.testing.assert_close(smallest_margin(net(adversarial), y), torch.zeros(1).double(), atol=1e-6, rtol=0)


def test_a_bound_of_other_points_is_refused():
    net, x = ll.nets.mlp(3, 8, 3).double(), torch.rand(2, 3).double()
    y = net(x).argmax(dim=1)
    with pytest.raises(ll.InvalidInput, match="whose points are not x"):
        ll.certify(net, x, y, 0.01, bound=lambda net, x, eps: ll.local_bound(net, x + 0.1, eps))
    with pytest.raises(ll.InvalidInput, match="whose outputs are not net"):
        ll.certify(net, x, y, 0.01, bound=lambda _, x, eps: ll.local_bound(ll.nets.mlp(3, 8, 3).double(), x, eps))
    assert ll.certify(net, x, y, 1e-6, bound=lambda net, x, eps: ll.local_bound(net, x, 2 * eps)).holds.all()

    def shifted(net, x, eps):
        return ll.local_bound(net, x + 0.1 * (len(x) > 2), eps)

    for ask in (ll.certify, ll.certified_radius):
        with pytest.raises(ll.InvalidInput, match="whose points are not x"):
            ask(net, x, y, *[0.01] * (ask is ll.certify), bound=shifted, shells=3)
