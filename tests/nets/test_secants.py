"""Secants from a point: against secants to many other points, and against what is known in closed form."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.domains.slopes import Passing
from lliptools.nets import ClippedMaxMin, ClippedReLU, MaxMin
from lliptools.nets.clips import Absolute, Hardtanh, LeakyReLU
from lliptools.nets.gated import Gated
from lliptools.nets.registry import read_activation

KINDS = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(-0.7, 1.3),
    "clipped": ClippedReLU(0.8),
    "theta 0": ClippedReLU(0.0),
    "leaky": nn.LeakyReLU(0.2),
    "steep below": nn.LeakyReLU(3.0),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(threshold=40),
    "elu": nn.ELU(0.7),
    "elu, steep": nn.ELU(1.8),
    "selu": nn.SELU(),
    "softsign": nn.Softsign(),
    "prelu": nn.PReLU(init=-0.4),
    "gelu": nn.GELU(),
    "gelu by tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
}
BENDS = (0.0, -0.7, 1.3, 0.8, 6.0)


def rule(name):
    return read_activation(KINDS[name])


def boxes(count, generator):
    """Centres with boxes around them, of all sizes, some of which end at the centre or at a bend."""
    spread = 10 ** (4 * torch.rand(3, count, generator=generator, dtype=torch.float64) - 3)
    z = spread[0] * torch.randn(count, generator=generator, dtype=torch.float64)
    z[: len(BENDS)] = torch.tensor(BENDS, dtype=torch.float64)
    lower, upper = z - spread[1], z + spread[2]
    lower[::7], upper[::11] = z[::7], z[::11]
    ends = torch.tensor(BENDS, dtype=torch.float64)[torch.arange(count) % len(BENDS)]
    upper = torch.where((torch.arange(count) % 5 == 0) & (ends > z), ends, upper)
    return z, lower, upper


@pytest.mark.parametrize("name", KINDS)
def test_no_secant_is_steeper(name):
    activation = rule(name)
    z, lower, upper = boxes(2000, torch.Generator().manual_seed(0))
    least, greatest = (end[0] for end in activation.secants(z[None], lower[None], upper[None]))
    hull = [end[0].double() for end in activation.slopes(lower[None], upper[None])]
    assert (hull[0] <= least).all()
    assert (least <= greatest).all()
    assert (greatest <= hull[1]).all()
    share = torch.linspace(0, 1, 401, dtype=torch.float64)[:, None]
    for places in (lower + share * (upper - lower), z + (upper - z) * share**6, z + (lower - z) * share**6):
        places = torch.minimum(torch.maximum(places, lower), upper)
        rise, step = activation(places) - activation(z[None]), places - z
        room = 1e-15 * (activation(places).abs() + activation(z[None]).abs()) + 1e-300
        if isinstance(activation, Gated):  # torch's own values err by as much as z does
            room = room + 1e-15 * (places.abs() + z.abs())
        assert (rise * step.sign() >= least * step.abs() - room).all()
        assert (rise * step.sign() <= greatest * step.abs() + room).all()


@pytest.mark.parametrize("name", ["relu", "hardtanh", "leaky", "steep below", "clipped", "elu"])
def test_the_steepest_and_the_flattest_secant_are_met(name):
    activation = rule(name)
    z, lower, upper = boxes(300, torch.Generator().manual_seed(1))
    least, greatest = (end[0] for end in activation.secants(z[None], lower[None], upper[None]))
    bends = torch.tensor([0.0, -0.7, 1.3, 0.8], dtype=torch.float64)[:, None]
    places = torch.cat([lower[None], upper[None], torch.minimum(torch.maximum(bends, lower), upper)])
    step = places - z
    slope = (activation(places) - activation(z[None])) / step
    far = step.abs() > 1e-6 * (1 + z.abs())
    steepest = torch.where(far, slope, -torch.inf).amax(dim=0)
    flattest = torch.where(far, slope, torch.inf).amin(dim=0)
    here = [end[0].double() for end in activation.slopes(z[None], z[None])]
    inside = far.all(dim=0)
    assert ((greatest - torch.maximum(steepest, here[1]))[inside].abs() <= 1e-8).all()
    assert ((least - torch.minimum(flattest, here[0]))[inside].abs() <= 1e-8).all()


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_smooth_secants_are_close(name):
    activation = rule(name)
    z, lower, upper = boxes(500, torch.Generator().manual_seed(2))
    found = activation.secants(z[None], lower[None], upper[None])
    share = torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None]
    places = lower + share * (upper - lower)
    step = places - z
    slope = torch.where(step.abs() > 1e-3, (activation(places) - activation(z[None])) / step, torch.nan)
    steepest, flattest = slope.nan_to_num(nan=-1).amax(dim=0), slope.nan_to_num(nan=9).amin(dim=0)
    wide = upper - lower > 0.1
    assert ((found[1][0] - steepest)[wide] <= 2e-3).all()
    assert ((flattest - found[0][0])[wide] <= 2e-3).all()


@pytest.mark.parametrize(
    ("z", "lower", "upper", "least", "greatest"),
    [
        (-1.0, -2.0, -0.5, 0.0, 0.0),
        (1.0, 0.5, 2.0, 1.0, 1.0),
        (-1.0, -2.0, 3.0, 0.0, 0.75),
        (1.0, -3.0, 2.0, 0.25, 1.0),
        (-1.0, -math.inf, math.inf, 0.0, 1.0),
        (0.0, -1.0, 1.0, 0.0, 1.0),
        (-1e300, -1.7e308, 1e-300, 0.0, 5e-324),
    ],
)
def test_relu_in_closed_form(z, lower, upper, least, greatest):
    found = rule("relu").secants(*(torch.tensor([[end]], dtype=torch.float64) for end in (z, lower, upper)))
    assert found[0].item() == pytest.approx(least, abs=1e-12)
    assert found[0].item() <= least
    assert found[1].item() == pytest.approx(greatest, abs=1e-12)
    assert found[1].item() >= greatest
    if greatest:
        assert found[1].item() > 0


@pytest.mark.slow
def test_a_softplus_far_below_zero():
    """e^(3z) loses digits with 3z: torch's values are off by more than their last digits there."""
    generator, steep = torch.Generator().manual_seed(1), 3
    activation = read_activation(nn.Softplus(steep, threshold=60))
    z, *away = torch.rand(3, 300, generator=generator, dtype=torch.float64)
    z, lower, upper = -230 * z, -230 * z - 10 ** (-3 * away[0]), -230 * z + 10 ** (-3 * away[1])
    least, greatest = (end.tolist() for end in activation.secants(z, lower, upper))
    with localcontext() as context:
        context.prec = 640
        for here, *ends, low, high in zip(z.tolist(), lower.tolist(), upper.tolist(), least, greatest, strict=True):
            value, *others = ((1 + (steep * Decimal(place)).exp()).ln() / steep for place in (here, *ends))
            slopes = [(other - value) / (Decimal(end) - Decimal(here)) for end, other in zip(ends, others, strict=True)]
            assert Decimal(low) <= slopes[0]
            assert slopes[1] <= Decimal(high)


@pytest.mark.parametrize("size", [1e-322, 1e-320, 1e-316, 1e-311])
def test_values_next_to_zero(size):
    """Below 1e-308 products are rounded to whole multiples of 5e-324."""
    z, lower, upper = torch.tensor([[-1.0, -1.1, 0.5], [0.4, -2.0, 0.7], [-0.9, -1.3, 1.1]]).double().T * size
    leak = 0.3
    least, greatest = LeakyReLU(leak).secants(z, lower, upper)
    for here, *ends, low, high in zip(z.tolist(), lower.tolist(), upper.tolist(), least, greatest, strict=True):
        value, *others = (Fraction(at) * (1 if at > 0 else Fraction(leak)) for at in (here, *ends))
        for end, other in zip(ends, others, strict=True):
            secant = (other - value) / (Fraction(end) - Fraction(here))
            assert Fraction(low.item()) <= secant <= Fraction(high.item())


def test_an_own_activation_has_the_slopes_between_any_two_points():
    class Own(ll.nets.Monotone):
        def forward(self, z):
            return z + z.sin() / 2

        def slopes(self, lower, upper):
            return torch.full_like(lower, 0.5), torch.full_like(upper, 1.5)

    z = torch.randn(1, 5).double()
    assert all(map(torch.equal, Own().secants(z, z - 1, z + 1), Own().slopes(z - 1, z + 1)))
    net = nn.Sequential(nn.Linear(2, 3), Own(), nn.Linear(3, 2)).double()
    x = torch.zeros(1, 2).double()
    assert torch.equal(ll.local_bound(net, x, 0.1, centred=True).value, ll.local_bound(net, x, 0.1).value)


class Noted:
    """What stands in for a state, and notes the slopes that it is given."""

    eps = torch.ones(1).double()

    def __init__(self, *slopes):
        self.slopes = slopes

    def units(self, least, greatest):
        return Noted(*self.slopes, (least, greatest))

    pairs = units


@pytest.mark.parametrize("kind", [MaxMin(), ClippedMaxMin(0.4, -0.3)])
def test_pairs_move_as_the_state_is_told(kind):
    """The larger of a pair is (a + b + s(a − b)) / 2 with a secant s of |a − b|, then the clip."""
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(40, 8, generator=generator, dtype=torch.float64)
    size = torch.rand(2, 40, 8, generator=generator, dtype=torch.float64)
    lower, upper = z - size[0], z + size[1]
    (least, greatest), *clip = kind.relax(Passing(Noted(), (z, z)), lower, upper).slopes.slopes
    assert len(clip) == isinstance(kind, ClippedMaxMin)
    for _ in range(200):
        other = lower + torch.rand(40, 8, generator=generator, dtype=torch.float64) * (upper - lower)
        apart, moved = (z[:, :4] - z[:, 4:]), (other[:, :4] - other[:, 4:])
        rise, step = moved.abs() - apart.abs(), moved - apart
        assert (rise * step.sign() >= least * step.abs() - 1e-12).all()
        assert (rise * step.sign() <= greatest * step.abs() + 1e-12).all()
        for low, high in clip:
            before, after = MaxMin()(z), MaxMin()(other)
            rise, step = kind(other) - kind(z), after - before
            assert (rise * step.sign() >= low * step.abs() - 1e-12).all()
            assert (rise * step.sign() <= high * step.abs() + 1e-12).all()
    assert (greatest - least <= 2 + 1e-12).all()
    assert (greatest - least < 1.9).any()


@pytest.mark.parametrize("activation", [LeakyReLU(0.1), Hardtanh(-0.5, 0.5), Absolute(), rule("tanh")])
def test_a_centre_that_is_known_up_to_rounding(activation):
    """Secants from every point of the interval lie in the range."""
    generator = torch.Generator().manual_seed(4)
    middle = torch.cat([torch.zeros(10), 0.5 * torch.ones(10), torch.randn(30, generator=generator)]).double()
    width = 10 ** (-12 * torch.rand(50, generator=generator, dtype=torch.float64) - 0.5)
    low, high = middle - width, middle + width
    lower, upper = (
        low - torch.rand(50, generator=generator).double(),
        high + torch.rand(50, generator=generator).double(),
    )
    least, greatest = activation.ranges(lower[None], upper[None], (low[None], high[None]))
    for share in torch.linspace(0, 1, 9, dtype=torch.float64):
        z = low + share * (high - low)
        for place in torch.linspace(0, 1, 41, dtype=torch.float64):
            other = lower + place * (upper - lower)
            rise, step = activation(other[None])[0] - activation(z[None])[0], other - z
            assert (rise * step.sign() >= least[0] * step.abs() - 1e-15).all()
            assert (rise * step.sign() <= greatest[0] * step.abs() + 1e-15).all()


def test_a_gradient_flows_to_the_box_and_to_the_thresholds():
    theta = nn.Parameter(torch.tensor(0.8, dtype=torch.float64))
    activation = ClippedReLU(0.8)
    activation.theta = theta
    z, lower, upper = (torch.tensor([[value]], dtype=torch.float64, requires_grad=True) for value in (-1.0, -2.0, 3.0))
    activation.secants(z, lower, upper)[1].sum().backward()
    # To the threshold: 0.8 / 1.8.
    assert z.grad.item() == pytest.approx(0.8 / 1.8**2, rel=1e-6)
    assert theta.grad.item() == pytest.approx(1 / 1.8**2, rel=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0.0, math.inf), (0.0, 0.5), (-math.inf, 0.5), (-1.0, 0.5), (0.5, 0.2)])
def test_the_largest_secant_of_a_clip_is_the_larger_of_its_range(low, high):
    torch.manual_seed(0)
    z = torch.randn(1, 20_000, dtype=torch.float64)
    lower, upper = z - torch.rand_like(z) ** 2, z + torch.rand_like(z) ** 2
    lower[0, :9000], upper[0, 6000:12_000] = z[0, :9000], z[0, 6000:12_000]
    for far in (0.0, 1e-3):
        center = z - far, z + far
        box = torch.minimum(lower, center[0]), torch.maximum(upper, center[1])
        clip = Hardtanh(low, high)
        slope, (_, greatest) = clip.slope(*box, center), clip.ranges(*box, center)
        torch.testing.assert_close(slope, greatest, rtol=1e-10, atol=1e-10)
        assert torch.equal(slope == 0, clip.slope(*box) == 0)
    endless = torch.tensor([[math.inf]]).double()
    for here in (torch.tensor([[0.1]]).double(), -endless):
        assert not (clip.slope(-endless, endless, (here, here)) < 1).any() or high <= low
