import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lliptools as ll
from lliptools.nets import Activation, ClippedMaxMin, ClippedReLU, MaxMin
from lliptools.nets.registry import read_activation

FINITE = st.floats(-5, 5)


@given(FINITE, FINITE, FINITE, st.floats(0, 1))
def test_image_and_slope_hold_between_any_two_points(theta, one, other, where):
    act = ClippedReLU(torch.tensor(theta, dtype=torch.float64), learnable=False)
    lower, upper = (torch.tensor([[value]], dtype=torch.float64) for value in sorted((one, other)))
    z = lower + where * (upper - lower)
    image, slope = act.image(lower, upper), act.slope(lower, upper)
    assert image[0] <= act(z) <= image[1]
    assert (act(upper) - act(lower)).abs() <= slope * (upper - lower) + 1e-15


def test_value():
    act = ClippedReLU(torch.tensor([1.0, 2.0, -1.0]))
    assert act(torch.tensor([[-1.0, 0.5, 3.0], [3.0, 3.0, 3.0]])).tolist() == [[0.0, 0.5, 0.0], [1.0, 2.0, 0.0]]


def test_threshold_is_learnable_or_fixed():
    assert [name for name, _ in ClippedReLU(0.5).named_parameters()] == ["theta"]
    fixed = ClippedReLU(torch.ones(3), learnable=False)
    assert not list(fixed.parameters())
    assert "theta" in fixed.state_dict()
    assert ClippedReLU(2).theta.dtype == torch.float32
    assert "theta=0.5" in repr(ClippedReLU(0.5))
    assert "3 units" in repr(fixed)


def test_threshold_does_not_share_memory():
    theta = torch.ones(3)
    act = ClippedReLU(theta)
    theta.fill_(7.0)
    assert act.theta.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("layer", [nn.Hardshrink(), nn.LogSigmoid(), nn.Linear(2, 2)])
def test_no_rule(layer):
    assert read_activation(layer) is None


def test_relu_is_the_clipped_one_without_a_clip():
    z = torch.randn(4, 5)
    assert torch.equal(read_activation(nn.ReLU())(z), z.relu())


RULES = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky": nn.LeakyReLU(0.3),
    "steep leaky": nn.LeakyReLU(1.7),
    "hard": nn.Hardtanh(-0.5, 2.0),
    "hard, above 0": nn.Hardtanh(0.5, 2.0),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(beta=2.0, threshold=100),
    "elu": nn.ELU(alpha=0.5),
    "steep elu": nn.ELU(alpha=2.0),
    "clipped": ClippedReLU(0.7),
    "selu": nn.SELU(),
    "softsign": nn.Softsign(),
    "prelu": nn.PReLU(init=0.4),
    **(FALLING := {"gelu": nn.GELU(), "gelu by tanh": nn.GELU("tanh"), "silu": nn.SiLU(), "mish": nn.Mish()}),
    **(FALLING := FALLING | {"hardswish": nn.Hardswish(), "absolute": ll.nets.Absolute()}),
}
WIDE = st.floats(-30, 30)


@pytest.mark.parametrize("name", RULES)
@given(ends=st.lists(WIDE, min_size=2, max_size=2), places=st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_every_rule_holds_between_any_two_points(name, ends, places):
    layer, act = RULES[name].double(), read_activation(RULES[name])
    lower, upper = (torch.tensor([[value]], dtype=torch.float64) for value in sorted(ends))
    a, b = (torch.minimum(lower + place * (upper - lower), upper) for place in places)
    (low, high), (least, greatest) = act.image(lower, upper), act.slopes(lower, upper)
    torch.testing.assert_close(act(a), layer(a), rtol=1e-12, atol=1e-14)
    assert low <= act(a) <= high
    change, rounding = (act(b) - act(a)) * (b - a).sign(), 1e-14 * (1 + act(a).abs() + act(b).abs())
    assert least * (b - a).abs() - rounding <= change <= greatest * (b - a).abs() + rounding
    assert torch.equal(act.slope(lower, upper), torch.maximum(least.abs(), greatest.abs()))


@pytest.mark.parametrize("name", RULES)
def test_images_and_slopes_are_the_smallest_boxes(name):
    layer, act = RULES[name].double(), read_activation(RULES[name])
    lower, upper = (3 * torch.randn(2, 1, 400, dtype=torch.float64)).sort(dim=0).values
    places = lower + (upper - lower) * torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    values, (low, high) = layer(places.clamp(max=upper)), act.image(lower, upper)
    assert (low <= values).all()
    assert (values <= high).all()
    near = 2.1e-3 * (upper - lower) + 1e-12
    assert (values.amin(dim=0) - low <= near).all()
    assert (high - values.amax(dim=0) <= near).all()
    found, (least, greatest) = values.diff(dim=0) / places.diff(dim=0), act.slopes(lower, upper)
    assert (least - 1e-8 <= found).all()
    assert (found <= greatest + 1e-8).all()
    assert (found.amin(dim=0) - least <= 0.05).all()
    assert (greatest - found.amax(dim=0) <= 0.05).all()


@pytest.mark.parametrize("name", RULES)
def test_rules_on_the_whole_line_and_in_a_point(name):
    act, infinite = read_activation(RULES[name]), torch.full((1, 1), torch.inf, dtype=torch.float64)
    point = torch.zeros_like(infinite)
    for least, greatest in (act.slopes(-infinite, infinite), act.slopes(point, point)):
        assert (-1 if name in FALLING else 0) <= least <= greatest < 2.1
    pieces = act.pieces(torch.Size([3]))
    if pieces is not None:
        breakpoints, slopes = pieces
        assert breakpoints.shape[1:] == slopes.shape[1:] == (3,)
        assert len(slopes) == len(breakpoints) + 1
        z = torch.tensor([-40.0, 40.0], dtype=torch.float64)
        ends = (act(z + 1) - act(z)).tolist()
        assert slopes[0, 0].item() == pytest.approx(ends[0], rel=1e-12)
        assert slopes[-1, 0].item() == pytest.approx(ends[1], rel=1e-12) or breakpoints.isinf().any()


@pytest.mark.parametrize("name", RULES)
def test_no_slope_between_close_points_is_outside(name):
    act = read_activation(RULES[name])
    z = torch.linspace(-8, 8, 3201, dtype=torch.float64)[:, None]
    slope = act(z).diff(dim=0) / z.diff(dim=0)
    for low, high in ((-torch.inf, torch.inf), (-8.0, 8.0), (-8.0, 0.0), (0.0, 8.0)):
        inside = slope[((z[:-1] >= low) & (z[1:] <= high))]
        least, greatest = act.slopes(*(torch.full((1, 1), end, dtype=torch.float64) for end in (low, high)))
        assert least - 1e-9 <= inside.min()
        assert inside.max() <= greatest + 1e-9


def test_a_smooth_unit_is_never_constant():
    far = torch.full((1, 1), 800.0).double()
    assert read_activation(nn.Tanh()).slope(far, far + 1) > 0
    assert read_activation(nn.Sigmoid()).slope(-far - 1, -far) > 0


class Absolute(Activation):
    """|z|, in the ten lines that an own activation takes."""

    def forward(self, z):
        return z.abs()

    def image(self, lower, upper):
        return torch.maximum(lower, -upper).relu(), torch.maximum(-lower, upper)

    def slopes(self, lower, upper):
        return torch.where(lower >= 0, 1.0, -1.0), torch.where(upper <= 0, -1.0, 1.0)


def test_an_own_activation_without_its_rule_is_not_built():
    class Bare(Activation):
        def forward(self, z):
            return z

    with pytest.raises(TypeError, match=r"abstract class Bare .*image.*slopes"):
        Bare()


def test_an_own_activation():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), Absolute(), nn.Linear(8, 2)).double()
    x = torch.randn(5, 3).double()
    slopes = torch.func.vmap(torch.func.jacrev(lambda row: net(row[None])[0]))(x)
    bounds = [rung(net, x, 0.01).value for rung in (ll.global_bound, ll.local_bound, ll.merged_bound)]
    for bound in bounds:
        assert (torch.linalg.matrix_norm(slopes, 2) <= bound * (1 + 1e-9)).all()
    assert (bounds[2] < bounds[0]).all()
    assert ll.certify(net, x, net(x).argmax(dim=1), 1e-3).holds.any()


def test_a_class_that_changes_an_activation_must_say_its_slopes():
    class Doubled(Absolute):
        def forward(self, z):
            return 2 * z.abs()

    with pytest.raises(ll.UnsupportedLayer, match="Doubled"):
        ll.local_bound(nn.Sequential(nn.Linear(3, 8), Doubled()), torch.zeros(1, 3), 0.1)


PAIRS = st.lists(st.tuples(FINITE, FINITE), min_size=4, max_size=4)


@given(ends=PAIRS, place=st.lists(st.floats(0, 1), min_size=4, max_size=4), theta=st.tuples(FINITE, FINITE))
def test_clipped_maxmin(ends, place, theta):
    act = ClippedMaxMin(*theta)
    lower, upper = (torch.tensor([[f(pair) for pair in ends]], dtype=torch.float64) for f in (min, max))
    z = torch.minimum(lower + torch.tensor([place], dtype=torch.float64) * (upper - lower), upper)
    low, high = act.image(lower, upper)
    assert ((low <= act(z)) & (act(z) <= high)).all()
    slope, row_slope = act.slope(lower, upper), act.row_slope(lower, upper)
    assert (act(lower) == act(z))[slope == 0].all()
    # rows are struck in pairs, and only where both outputs are constant
    assert torch.equal(row_slope, (slope[:, :2] + slope[:, 2:] > 0).double().repeat(1, 2))
    least, greatest = act.slopes(lower, upper)
    assert torch.equal(greatest, slope)
    one, other = act.clipped_from(lower, upper)
    assert (act(upper) - act(lower) == other - one)[least == 1].all()
    order = act.order(lower, upper)
    a, b = z.chunk(2, dim=1)
    assert (a >= b)[order > 0].all()
    assert (b >= a)[order < 0].all()


def test_maxmin_sorts():
    assert MaxMin()(torch.tensor([[1.0, 2.0, 3.0, 0.0]])).tolist() == [[3.0, 2.0, 1.0, 0.0]]
    image = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert MaxMin()(image).tolist() == image.flip(1).tolist()
    assert [name for name, _ in ClippedMaxMin(torch.ones(2), -1).named_parameters()] == ["theta_max", "theta_min"]
