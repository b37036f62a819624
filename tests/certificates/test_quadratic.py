"""Margins by products: never above the truth, at least what multipliers give, and whatever was found is proved."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from networks import NETWORKS, in_ball, points
from torch import nn

import lliptools as ll
from lliptools.bounds import outward_rounding
from lliptools.certificates.quadratic import Sample
from lliptools.certificates.semidefinite import solve

ELEMENTWISE = [
    name for name in NETWORKS if not any(other in name for other in ("maxmin", "residual", "one layer", "activation"))
]


def lin(weight, bias=None):
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    layer.bias.data = torch.tensor([0.0] * len(weight) if bias is None else bias, dtype=torch.float64)
    return layer


def known(net, x, eps, bound=ll.tightest_bound):
    """What is known of the net around one point, (features,), and its last linear map."""
    blocks = bound(net, x[None], eps, centred=True).blocks
    return Sample.of(list(blocks[:-1]), x[None], torch.tensor([eps], dtype=torch.float64)), blocks[-1].linear


def decides(sample, last, y, other, left):
    """Whether a margin that is `left` at the centre is proved to stay above 0."""
    return bool(sample.margin(last, torch.tensor(y), torch.tensor(other), torch.tensor(left, dtype=torch.float64)) > 0)


def seen_fall(net, x, y, eps):
    """By how much f_y − f_j falls from its value at x, as far as samples and attacks see: (classes,)."""
    seen = [in_ball(x, eps, 1500, seed=0)]
    for target in range(net(x[None]).shape[1]):
        here = x[None].clone()
        for _ in range(25):
            here = here.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad((net(here)[:, y] - net(here)[:, target]).sum(), here)
            away = here.detach() - 0.25 * eps * slope / slope.norm().clamp_min(1e-30) - x
            here = x + away * (eps / away.norm().clamp_min(1e-30)).clamp_max(1.0)
            seen.append(here.detach())
    logits, there = net(x[None]).detach(), net(torch.cat(seen)).detach()
    return (logits[:, y : y + 1] - logits)[0] - (there[:, y : y + 1] - there).amin(dim=0)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_margin_that_is_lost_somewhere_is_proved(name):
    net = NETWORKS[name]().double()
    with outward_rounding(), torch.no_grad():
        for x, eps in zip(points(net).double(), (0.03, 0.3, 1.0), strict=False):
            sample, last = known(net, x, eps)
            y = net(x[None]).argmax().item()
            with torch.enable_grad():
                fall = seen_fall(net, x, y, eps)
            for other in range(len(fall)) if sample else ():
                if other != y:
                    lost = fall[other].item()
                    assert not decides(sample, last, y, other, lost * (1 - 1e-6))


@torch.no_grad()
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_at_least_what_multipliers_give(name):
    net = NETWORKS[name]().double()
    x = points(net).double()[:2]
    y = net(x).argmax(dim=1)
    for eps in (0.1, 0.6):
        pairs = ll.merged_bound(net, x, eps, steps=30, centred=True).pairwise(y)
        for k in range(len(x)):
            sample, last = known(net, x[k], eps, ll.merged_bound)
            for other in range(pairs.shape[1]) if sample else ():
                if other != y[k] and pairs[k, other] > 0:
                    assert decides(sample, last, y[k].item(), other, 1.005 * eps * pairs[k, other].item())


def test_one_unit_by_hand():
    """f_0 − f_1 = 2 − relu(x) at x = −1: within 2 of it relu reaches 1."""
    net, x = nn.Sequential(lin([[1.0]]), nn.ReLU(), lin([[-1.0], [0.0]], [2.0, 0.0])), torch.tensor([-1.0]).double()
    sample, last = known(net, x, 2.0)
    assert decides(sample, last, 0, 1, 1 + 1e-4)
    assert not decides(sample, last, 0, 1, 1 - 1e-9)
    assert ll.certify(net, x[None], torch.tensor([0]), 2.99, quadratic=True).holds.item()
    assert not ll.certify(net, x[None], torch.tensor([0]), 3.0, quadratic=True).holds.item()  # a tie at the edge


def test_two_units_that_share_the_ball():
    """f_0 − f_1 = 2 − relu(a) − relu(b) from (0, 0): the disc lets both reach 1/√2 only."""
    net = nn.Sequential(lin([[1.0, 0.0], [0.0, 1.0]]), nn.ReLU(), lin([[-1.0, -1.0], [0.0, 0.0]], [2.0, 0.0]))
    sample, last = known(net, torch.zeros(2).double(), 1.0)
    assert decides(sample, last, 0, 1, math.sqrt(2) + 1e-3)
    assert not decides(sample, last, 0, 1, math.sqrt(2) - 1e-9)


@pytest.mark.parametrize("name", ["relu", "clipped", "deep", "tanh"])
def test_any_multipliers_prove_what_is_true(name):
    """Whatever the search returns: multipliers below 0, far too large, infinite, or not numbers."""
    net = NETWORKS[name]().double()
    x, eps = points(net).double()[0], 0.4
    y = net(x[None]).argmax().item()
    fall = seen_fall(net, x, y, eps)
    generator = torch.Generator().manual_seed(0)
    with outward_rounding(), torch.no_grad():
        sample, last = known(net, x, eps)
        other = int(fall.argmax())
        objective = sample.objective(last.weight[y] - last.weight[other], fall.new_zeros(()))
        count = len(sample.products.left) + 2
        for scale in (1e-3, 0.1, 1.0, 10.0, 1e200, math.inf, math.nan):
            for _ in range(20):
                tried = scale * torch.randn(count, generator=generator).double()
                for value in (0.0, 0.5, 5.0):
                    tried[-1] = value - fall[other]
                    assert not sample.proved(objective, tried) > -fall[other]


@pytest.mark.slow
@pytest.mark.parametrize("bound", ["local", "tightest"])
def test_certificates_gain_and_are_never_broken(bound):
    net, gained = NETWORKS["relu"]().double(), 0
    x = points(net, 12).double()
    y = net(x).argmax(dim=1)
    for eps in (0.05, 0.1, 0.2, 0.4):
        plain = ll.certify(net, x, y, eps, ll.BOUNDS[bound], centred=True, linear=True)
        found = ll.certify(net, x, y, eps, ll.BOUNDS[bound], centred=True, linear=True, quadratic=True)
        assert (found.worst_margin >= plain.worst_margin).all()
        assert (found.holds | ~plain.holds).all()
        gained += (found.holds & ~plain.holds).sum().item()
        for k in found.holds.nonzero()[:, 0].tolist():
            broken = ll.attacks.pgd(net, x[k : k + 1], y[k : k + 1], eps, steps=40, restarts=4)
            assert ll.attacks.is_correct(net, broken, y[k : k + 1])
    assert gained


@pytest.mark.slow
def test_it_pays_on_a_trained_network():
    net, data = ll.nets.load("digits-relu"), ll.training.digits()
    x, y = data.x_test[:20].double(), data.y_test[:20]
    plain, found = (
        ll.certify(net, x, y, 0.4, ll.tightest_bound, centred=True, linear=True, quadratic=quadratic).holds.sum()
        for quadratic in (False, True)
    )
    assert found > plain


@pytest.mark.parametrize(
    "name", ["maxmin", "residual", "one layer", "ends in an activation", "starts with an activation"]
)
def test_what_it_is_not_written_for_is_left_as_it_is(name):
    net = NETWORKS[name]().double()
    x = points(net).double()
    y = net(x).argmax(dim=1)
    plain, found = (ll.certify(net, x, y, 0.3, quadratic=quadratic).worst_margin for quadratic in (False, True))
    assert (found >= plain).all()


def test_weights_that_are_no_number_prove_nothing():
    net = ll.nets.mlp(4, 5, 3).double()
    net[0].weight.data[0, 0], net[2].weight.data[0, 0] = 1e200, 1e200
    x, y = torch.zeros(2, 4).double(), torch.tensor([0, 1])
    found = ll.certify(net, x, y, 0.1, quadratic=True)
    assert not found.holds.any()
    assert not found.worst_margin.isnan().any()


THIRDS, DIFFERENCE, SAME = lin([[1 / 3], [1.0]]), lin([[3e17, -1e17]]), nn.LeakyReLU(1.0)
BEHIND = {
    "in the last map": [THIRDS, DIFFERENCE],
    "in a map before": [THIRDS, DIFFERENCE, SAME],
    "behind an activation": [THIRDS, SAME, DIFFERENCE],
    "between activations": [THIRDS, SAME, DIFFERENCE, SAME],
}


@pytest.mark.parametrize("behind", BEHIND)
def test_products_that_cancel(behind):
    """The slope behind the clipped unit is −5.55, and comes out as 0: the margin of 1 is lost at 0.2."""
    net = nn.Sequential(
        lin([[1.0]]), ll.nets.ClippedReLU(5.0), *BEHIND[behind], lin([[1.0], [0.0]], [1.0, 0.0])
    ).double()
    x, y = torch.zeros(1, 1).double(), torch.tensor([0])
    with outward_rounding(), torch.no_grad():
        for eps in (0.3, 1.0, 2.5):
            assert not decides(*known(net, x[0], eps), 0, 1, 1.0)
            assert not ll.certify(net, x, y, eps, ll.tightest_bound, quadratic=True).holds.item()


@pytest.mark.parametrize("scale", [1e-160, 1e-165, 1e-250])
def test_outputs_whose_squares_underflow(scale):
    """The margins of a network whose last layer is scaled are the scaled margins."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64)
    net[-1].weight.data *= scale
    net[-1].bias.data *= scale
    x = torch.randn(20, 3, dtype=torch.float64)
    y = net(x).argmax(dim=1)
    for eps in (0.15, 0.5):
        found = ll.certify(net, x, y, eps, ll.tightest_bound, linear=True, quadratic=True).worst_margin
        for k in range(len(x)):
            logits = net(in_ball(x[k], eps, 3000, seed=0)).detach()
            margin = logits[:, y[k] : y[k] + 1] - logits
            margin[:, y[k]] = math.inf
            assert found[k] <= margin.min() + 1e-9 * scale


def test_a_unit_that_seems_to_stand_still():
    """relu(1 − 5.55 h) falls to 0, though its pre-activation comes out as 1 whatever h is."""
    behind = [THIRDS, lin([[3e17, -1e17]], [1.0]), nn.ReLU(), lin([[1.0], [0.0]])]
    net = nn.Sequential(lin([[1.0]]), ll.nets.ClippedReLU(5.0), *behind).double()
    with outward_rounding(), torch.no_grad():
        for eps in (0.3, 1.0, 2.5):
            assert not decides(*known(net, torch.zeros(1).double(), eps), 0, 1, 0.99)


def test_the_unit_is_where_it_really_is():
    """At the centre the pre-activation comes out as 0, and is up to 7e-9: so far it can fall, times 1e8."""
    generator, found = torch.Generator().manual_seed(0), 0
    with outward_rounding(), torch.no_grad():
        for _ in range(40):
            x, weight = (torch.rand(2, generator=generator).double() + 1).tolist()
            weight *= 1e8
            exact, eps = Fraction(weight) * Fraction(x) - Fraction(weight * x), 2.0**-50
            if exact > Fraction(2e-9):
                net = nn.Sequential(lin([[weight]], [-weight * x]), nn.ReLU(), lin([[1e8], [0.0]], [1.0, 0.0]))
                fall, found = float(10**8 * min(exact, Fraction(weight) * Fraction(eps))), found + 1
                assert not decides(*known(net, torch.tensor([x], dtype=torch.float64), eps), 0, 1, 0.9 * fall)
    assert found > 5


@torch.no_grad()
@pytest.mark.parametrize("name", ["relu", "clipped"])
def test_inequalities_are_not_taken_for_equations(name):
    """Multipliers of any sign, found as if every product were 0, prove nothing that is false."""
    net = NETWORKS[name]().double()
    x, eps = points(net).double()[0], 0.6
    y = net(x[None]).argmax().item()
    with torch.enable_grad():
        fall = seen_fall(net, x, y, eps)
    sample, last = known(net, x, eps)
    other = int(fall.argmax())
    objective = sample.objective(last.weight[y] - last.weight[other], 0.9 * fall[other])
    tried = solve(objective, replace(sample.products, equal=torch.ones_like(sample.products.equal)))
    assert tried[-1] > 0
    assert not sample.proved(objective, tried) > 0
