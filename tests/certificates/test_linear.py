"""Linear bounds of margins: never above the truth, exact where the network is linear, and worth their price."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from networks import NETWORKS, in_ball, points
from torch import nn

import lliptools as ll
from lliptools.domains import Ball, Interval


class Guess(Interval):
    """A domain that says nothing of the way it errs."""


def lowest_seen(net, x, y, eps, *, confined=False):
    """The least f_y − f_j that samples and attacks find in the ball: (classes,)."""
    seen = [x[None], in_ball(x, eps, 800, seed=0)]
    for target in range(net(x[None]).shape[1]):
        here = x[None].clone()
        for _ in range(10):
            here = here.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad((lambda f: f[:, y] - f[:, target])(net(here)).sum(), here)
            step = here.detach() - 0.25 * eps * slope / slope.norm().clamp_min(1e-30)
            away = step - x
            here = x + away * (eps / away.norm().clamp_min(1e-30)).clamp_max(1.0)
            seen.append(here.detach().clamp(0, 1) if confined else here.detach())
    inside = torch.cat(seen)
    if confined:
        inside = inside.clamp(0, 1)  # nearer to a centre in [0, 1]
    logits = net(inside).detach()
    return (logits[:, y : y + 1] - logits).amin(dim=0)


@pytest.mark.parametrize("steps", [0, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETWORKS)
def test_never_above_what_is_seen(name, steps):
    net = NETWORKS[name]().double()
    x = points(net).double()[:2]
    y = net(x).argmax(dim=1)
    for eps in (0.0, 0.1, 2.0):
        found = ll.linear_margins(net, x, y, eps, steps=steps)
        for k in range(len(x)):
            assert (found[k] <= lowest_seen(net, x[k], y[k], eps) + 1e-12).all()
        assert (found.gather(1, y[:, None]) == 0).all()


@pytest.mark.parametrize("name", ["relu", "clipped", "residual, clipped"])
def test_with_an_input_domain(name):
    net = NETWORKS[name]().double()
    x = points(net).double().clamp(0, 1)[:3]
    y = net(x).argmax(dim=1)
    confined = Interval.confined(0, 1) & Ball
    for eps in (0.1, 0.8):
        ball, part = ll.linear_margins(net, x, y, eps), ll.linear_margins(net, x, y, eps, domain=confined)
        assert (part >= ball - 1e-9 * ball.abs()).all()
        for k in range(len(x)):
            assert (part[k] <= lowest_seen(net, x[k], y[k], eps, confined=True) + 1e-12).all()


def test_exact_where_no_unit_is_unstable():
    net, x = ll.nets.mlp(6, 8, 3), torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).double()
    net, y = net.double(), torch.tensor([0, 1, 2, 0])
    eps = 1e-5
    found = ll.linear_margins(net, x, y, eps)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda p: net(p[None])[0], point) for point in x])
    rows = jacobian.gather(1, y[:, None, None].expand(-1, 1, 6)) - jacobian
    logits = net(x).detach()
    truth = logits.gather(1, y[:, None]) - logits - eps * rows.norm(dim=2)
    assert torch.allclose(found, truth, rtol=1e-11, atol=1e-13)


def test_one_unit_by_hand():
    """f_0 − f_1 = 2 − relu(x) at x = −1: within 2 of it relu reaches 1, and the line of the chord says so exactly."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    net[0].weight.data, net[0].bias.data = torch.ones(1, 1).double(), torch.zeros(1).double()
    net[2].weight.data, net[2].bias.data = torch.tensor([[-1.0], [0.0]]).double(), torch.tensor([2.0, 0.0]).double()
    x, y = torch.tensor([[-1.0]]).double(), torch.tensor([0])
    assert ll.linear_margins(net, x, y, 2.0)[0, 1].item() == pytest.approx(1.0, abs=1e-9)
    assert ll.certify(net, x, y, 2.99, linear=True).holds.item()
    assert not ll.certify(net, x, y, 3.0, linear=True).holds.item()  # a tie at the edge


def test_the_ball_counts_beside_the_box():
    """Two units, whose box is a square: the ball is what makes their sum smaller."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    net[0].weight.data, net[0].bias.data = torch.eye(2).double(), torch.zeros(2).double()
    net[2].weight.data = torch.tensor([[-1.0, -1.0], [0.0, 0.0]]).double()
    net[2].bias.data = torch.tensor([2.0, 0.0]).double()
    x, y = torch.zeros(1, 2).double(), torch.tensor([0])
    found = ll.linear_margins(net, x, y, 1.0, steps=60)[0, 1].item()
    box_alone = 2.0 - 2.0
    assert box_alone + 0.2 < found <= 2 - math.sqrt(2) + 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "clipped", "clipped maxmin", "tanh", "pooled", "residual, clipped"])
@pytest.mark.parametrize("bound", ["local", "tightest"])
def test_certificates_gain_and_are_never_broken(name, bound):
    net = NETWORKS[name]().double()
    x = points(net).double()
    y = net(x).argmax(dim=1)
    for eps in (0.02, 0.1, 0.4):
        plain = ll.certify(net, x, y, eps, bound=ll.BOUNDS[bound])
        found = ll.certify(net, x, y, eps, bound=ll.BOUNDS[bound], linear=True)
        assert (found.worst_margin >= plain.worst_margin).all()
        assert (found.holds | ~plain.holds).all()
        for k in found.holds.nonzero()[:, 0].tolist():
            broken = ll.attacks.pgd(net, x[k : k + 1], y[k : k + 1], eps, steps=40, restarts=4)
            assert ll.attacks.is_correct(net, broken, y[k : k + 1])


def test_it_pays_on_a_trained_network():
    net, data = ll.nets.load("digits-relu"), ll.training.digits()
    x, y = data.x_test[:60].double(), data.y_test[:60]
    plain, found = (ll.certify(net, x, y, 0.35, linear=linear).holds.sum().item() for linear in (False, True))
    assert found > plain


def test_weights_that_are_no_number_prove_nothing():
    net = ll.nets.mlp(4, 5, 3).double()
    x, y = torch.zeros(2, 4).double(), torch.tensor([0, 1])
    net[0].weight.data[0, 0] = 1e200
    net[2].weight.data[0, 0] = 1e200
    found = ll.certify(net, x, y, 0.1, linear=True)
    assert not found.holds.any()
    assert not ll.linear_margins(net, x, y, 0.1).isnan().any()


@pytest.mark.parametrize("apart", [False, True])
def test_coefficients_that_underflow(apart):
    """A slope of 1e-330 is no number, and over a ball of radius 1e30 it takes twice what there is of the margin."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    if apart:
        net.insert(2, nn.LeakyReLU(1e-160))
    for parameter, numbers in zip(net.parameters(), (1e-165, 0.0, [[-1e-165], [0.0]], [2.5e-300, 0.0]), strict=True):
        parameter.data = torch.tensor(numbers, dtype=torch.float64).reshape(parameter.shape)
    x, y = torch.tensor([[2e30]]).double(), torch.tensor([0])
    for steps in (0, 5):
        assert ll.linear_margins(net, x, y, 1e30, steps=steps)[0, 1] <= -4.9e-301
    for eps in (9e29, 1e30):
        assert not ll.certify(net, x, y, eps, linear=True, quadratic=True).holds.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inference_mode_changes_nothing(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)).to(dtype)
    x = torch.randn(3, 4, dtype=dtype)
    y = net(x).argmax(dim=1)
    functions = (partial(ll.linear_margins, steps=4), partial(ll.certify, linear=True, quadratic=True))
    for function in functions:
        outside = function(net, x, y, 1.9)
        with torch.inference_mode():
            inside = function(net, x.clone(), y, 1.9)
        if isinstance(outside, ll.Certificate):
            outside, inside = outside.worst_margin, inside.worst_margin
            assert not (outside > 0).all()
        assert torch.equal(outside, inside)


def test_what_proves_nothing_is_refused():
    net = NETWORKS["relu"]().double()
    x = points(net).double()
    with pytest.raises(ll.InvalidInput, match="finite radius"):
        ll.linear_margins(net, x, net(x).argmax(dim=1), math.inf)
    with pytest.raises(ll.InvalidInput, match="upper"):
        ll.linear_margins(net, x, net(x).argmax(dim=1), 0.1, domain=Guess)
    with pytest.raises(ll.InvalidInput, match="steps"):
        ll.linear_margins(net, x, net(x).argmax(dim=1), 0.1, steps=-1)


def test_the_users_random_stream_and_weights_are_left_alone():
    net = NETWORKS["relu"]()
    x = points(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    ll.linear_margins(net, x, net(x).argmax(dim=1), 0.3, steps=5)
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed):
    kinds = [nn.ReLU, nn.Tanh, partial(nn.LeakyReLU, 0.2), partial(ll.nets.ClippedReLU, 0.7), nn.Hardtanh, nn.Sigmoid]
    torch.manual_seed(seed)
    widths = torch.randint(1, 7, (1 + seed % 3,)).tolist()
    hidden = [part for n, m in pairwise([4, *widths]) for part in (nn.Linear(n, m), kinds[seed % len(kinds)]())]
    net = nn.Sequential(*hidden, nn.Linear(widths[-1], 3)).double()
    x = torch.randn(2, 4).double()
    y = net(x).argmax(dim=1)
    for eps in (1e-6, 0.2, 5.0):
        for steps in (0, 5):
            found = ll.linear_margins(net, x, y, eps, steps=steps)
            for k in range(2):
                assert (found[k] <= lowest_seen(net, x[k], y[k], eps) + 1e-12).all()
