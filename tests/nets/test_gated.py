"""The three numbers of every gated activation, proved by interval arithmetic; its bounds on networks."""

import mpmath
import pytest
import torch
from mpmath import iv
from torch import nn

import lliptools as ll
from lliptools.nets import gated

BESIDE = mpmath.mpf(10) ** -10


def gelu_by_tanh(z):
    """The sign of the second derivative, in interval arithmetic."""
    beta, kappa = iv.sqrt(2 / iv.pi), iv.mpf("0.044715")
    slope = beta * (1 + 3 * kappa * z**2)
    return slope + 3 * beta * kappa * z**2 - z * slope**2 * (1 - 2 / (1 + iv.exp(2 * beta * (z + kappa * z**3))))


def mish(z):
    """As of z·T, T = n(n + 2)/D with n = e^z, D = n² + 2n + 2, so T′ = 4n(n + 1)/D²; times D³/4n."""
    n = iv.exp(z)
    return 2 * (n + 1) * (n**2 + 2 * n + 2) + z * (-2 * n**3 - 3 * n**2 + 2 * n + 2)


SECOND = {
    gated.GELU: lambda z: 2 - z**2,
    gated.TanhGELU: gelu_by_tanh,
    gated.SiLU: lambda z: 2 + z * (1 - 2 / (1 + iv.exp(-z))),
    gated.Mish: mish,
}
EXACT = {
    gated.GELU: lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2,
    gated.TanhGELU: lambda z: z / (1 + mpmath.exp(-mpmath.sqrt(8 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3))),
    gated.SiLU: lambda z: z / (1 + mpmath.exp(-z)),
    gated.Mish: lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z))),
}


def has_sign(function, low, high, sign):
    """Proves sign · function > 0 on [low, high], in ever smaller parts."""
    found = sign * function(iv.mpf([low, high]))
    if found > 0:
        return True
    middle = (low + high) / 2
    return high - low > 1e-12 and has_sign(function, low, middle, sign) and has_sign(function, middle, high, sign)


@pytest.mark.parametrize("kind", SECOND, ids=lambda kind: kind.__name__)
def test_where_the_slope_turns(kind):
    """It falls, grows and falls between places known to 1e-10, and there it is no steeper or flatter than is said."""
    second, f, far = SECOND[kind], EXACT[kind], mpmath.mpf(gated.FAR)
    with mpmath.workdps(40):
        iv.dps = 40
        low, high = mpmath.mpf(kind.flattest[0]), mpmath.mpf(kind.steepest[0])
        assert has_sign(second, -far, low - BESIDE, -1)
        assert has_sign(second, low + BESIDE, high - BESIDE, 1)
        assert has_sign(second, high + BESIDE, far, -1)
        # In 1e-10 around a place where the second derivative is 0, the first one changes by less than 1e-18.
        assert kind.flattest[1] < mpmath.diff(f, low) - 1e-18 < kind.flattest[1] + 1e-11
        assert kind.steepest[1] - 1e-11 < mpmath.diff(f, high) + 1e-18 < kind.steepest[1]
        valley = mpmath.mpf(kind.valley[0])
        assert low < valley < high  # where the slope grows: it is 0 once
        assert mpmath.diff(f, valley - BESIDE) < 0 < mpmath.diff(f, valley + BESIDE)
        assert kind.valley[1] < f(valley) - 1e-18 < kind.valley[1] + 1e-11
        assert max(abs(f(-far)), abs(f(far) - far), abs(mpmath.diff(f, far) - 1)) < 1e-17
        iv.dps = 15


LAYERS = {
    "gelu": nn.GELU(),
    "gelu by tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "selu": nn.SELU(),
    "softsign": nn.Softsign(),
    "prelu": nn.PReLU(8, 0.2),
    "absolute": ll.nets.Absolute(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_bounds_of_networks(name):
    torch.manual_seed(0)
    layer = LAYERS[name]
    net = nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 8), layer, nn.Linear(8, 4)).double().eval()
    x, everywhere = 2 * torch.randn(6, 3).double(), ll.global_bound(net, 2 * torch.randn(6, 3).double()).value
    for eps in (0.02, 0.5, 4.0):
        lower, any_two = ll.sampled_bound(net, x, eps).value, ll.local_bound(net, x, eps).value
        assert (lower <= ll.tightest_bound(net, x, eps).value).all()
        assert (lower <= any_two).all()
        assert (any_two <= everywhere * (1 + 1e-9)).all()
        assert (ll.local_bound(net, x, eps, centred=True).value <= any_two * (1 + 1e-9)).all()
    J = torch.stack([torch.autograd.functional.jacobian(lambda p: net(p[None])[0], p) for p in x])
    assert ((ll.merged_bound(net, x, 1e-7).value / torch.linalg.matrix_norm(J, 2) - 1).abs() < 1e-4).all()


@pytest.mark.parametrize("name", LAYERS)
def test_read_from_a_program_and_written_as_plain_torch(name):
    net = nn.Sequential(nn.Linear(3, 8), LAYERS[name], nn.Linear(8, 2)).double().eval()
    x = torch.randn(5, 3).double()
    torch.testing.assert_close(ll.export(net)(x), net(x), rtol=0, atol=0)
    if name != "softsign":  # torch.export writes it as a quotient of two values
        made = torch.export.export(net, (x,))
        read = ll.nets.read_program(made)
        assert type(read[1]) is type(LAYERS[name])
        assert torch.equal(read(x), net(x))


class Written(nn.Module):
    """Gates that are spelled out."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x):
        z = self.first(x)
        z = torch.sigmoid(z) * z
        return self.last(z * torch.tanh(nn.functional.softplus(z)))


def test_gates_that_are_spelled_out():
    torch.manual_seed(0)
    net, x = Written().double().eval(), torch.randn(4, 3).double()
    read = ll.nets.read_program(torch.export.export(net, (x,)))
    assert [type(layer) for layer in read] == [nn.Linear, nn.SiLU, nn.Mish, nn.Linear]
    assert (ll.local_bound(net, x, 0.3).value >= ll.sampled_bound(read, x, 0.3).value).all()


def test_a_prelu_needs_its_channels():
    net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.PReLU(3), nn.Flatten(), nn.Linear(27, 2))
    x = torch.randn(2, 1, 4, 4)
    assert (ll.local_bound(net, x, 0.1).value >= ll.sampled_bound(net, x, 0.1).value).all()
    net[1] = nn.PReLU(2)
    with pytest.raises(ll.InvalidInput, match="2 channels before layer 1"):
        ll.local_bound(net, x, 0.1)
    net[1] = nn.PReLU(3, torch.inf)
    with pytest.raises(ll.InvalidInput, match="layer 1"):
        ll.local_bound(net, x, 0.1)
