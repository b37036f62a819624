"""Rules of one's own: what they return is refused where it cannot be true, wherever it is used."""

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import Activation, Monotone
from lliptools.nets.registry import read_activation


class Relu(Activation):
    """relu, as a right rule; every class below is wrong in one thing."""

    def forward(self, z):
        return z.relu()

    def image(self, lower, upper):
        return lower.relu(), upper.relu()

    def slopes(self, lower, upper):
        return (lower >= 0).to(lower), (upper > 0).to(upper)

    def pieces(self, shape):
        one = torch.ones(shape, dtype=torch.float64)
        return 0 * one[None], torch.stack([0 * one, one])


def wrong(**methods):
    """A class that derives from Activation and says all of Relu, but for these methods."""
    right = {name: vars(Relu)[name] for name in ("forward", "image", "slopes", "pieces")}
    return type("Mine", (Activation,), right | methods)()


class Silu(Activation):
    """z · sigmoid(z), whose derivative is inf · 0 at the ends of the line."""

    def forward(self, z):
        return z * z.sigmoid()

    def image(self, lower, upper):
        ends = torch.stack([self(lower), self(upper)]).nan_to_num(nan=torch.inf)
        return ends.amin(dim=0).clamp_max(-0.2785), ends.amax(dim=0).clamp_min(0.0)

    def slopes(self, lower, upper):
        ends = torch.stack([z.sigmoid() * (1 + z * (-z).sigmoid()) for z in (lower, upper)])
        return ends.amin(dim=0), ends.amax(dim=0)


NAN = torch.nan
FALSE = {
    "slopes that are NaN": wrong(slopes=lambda self, lower, upper: (0 * lower, NAN * upper)),
    "a least slope that is NaN": wrong(slopes=lambda self, lower, upper: (NAN * lower, 0 * upper + 1)),
    "slopes that are NaN at infinity": Silu(),
    "slopes of another shape": wrong(slopes=lambda self, lower, upper: (lower[:, :1] * 0, lower[:, :1] * 0 + 1)),
    "one slope for all": wrong(slopes=lambda self, lower, upper: torch.ones_like(lower)),
    "numbers for slopes": wrong(slopes=lambda self, lower, upper: (0.0, 1.0)),
    "least above greatest": wrong(slopes=lambda self, lower, upper: (0 * lower + 1, 0 * lower)),
    "slopes that are too small": wrong(slopes=lambda self, lower, upper: (0 * lower, 0 * lower + 0.9)),
    "slopes that are too large": wrong(slopes=lambda self, lower, upper: (0 * lower + 0.1, 0 * lower + 1.0)),
    "slopes in float32": wrong(
        forward=lambda self, z: 0.7 * z,
        image=lambda self, lower, upper: (0.7 * lower, 0.7 * upper),
        slopes=lambda self, lower, upper: (torch.where(lower < upper, 0.7, 0.7),) * 2,  # 0.69999999
        pieces=Activation.pieces,
    ),
    "complex slopes": wrong(slopes=lambda self, lower, upper: (1j * lower, 1j * upper)),
    "an image that is NaN": wrong(image=lambda self, lower, upper: (lower.relu(), NAN * upper)),
    "an image turned round": wrong(image=lambda self, lower, upper: (upper.relu() + 1, lower.relu())),
    "an image that is too small": wrong(image=lambda self, lower, upper: (lower.relu(), upper.relu() - 1)),
    "an image without its middle": wrong(
        forward=lambda self, z: (1 - z.abs()).relu(),
        image=lambda self, lower, upper: ((1 - lower.abs()).relu().minimum((1 - upper.abs()).relu()),) * 2,
        slopes=lambda self, lower, upper: (-torch.ones_like(lower), torch.ones_like(lower)),
    ),
    "values of another shape": wrong(forward=lambda self, z: z.relu().sum(dim=1)),
    "values in float32": wrong(forward=lambda self, z: z.relu().float()),
    "units that see each other": wrong(forward=lambda self, z: (z - z.mean(dim=1, keepdim=True) / 2).relu()),
    "points that see each other": wrong(forward=lambda self, z: z.relu() / (1 + z.abs().amax(dim=0))),
}


def around(activation):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 6), activation, nn.Linear(6, 2)).double()


@pytest.mark.parametrize("name", FALSE)
@pytest.mark.parametrize("bound", ["global", "local", "path", "merged", "tightest"])
def test_a_false_rule_is_refused_by_name(name, bound):
    x = torch.zeros(2, 3).double()
    with pytest.raises(ll.InvalidInput, match=type(FALSE[name]).__name__):
        ll.certify(around(FALSE[name]), x, torch.tensor([0, 1]), 5.0, ll.BOUNDS[bound])


@pytest.mark.parametrize("name", FALSE)
@pytest.mark.parametrize("kind", [ll.layers.SLLLinear, ll.layers.CPLLinear, ll.layers.SandwichLinear])
def test_and_no_layer_guarantees_anything_with_it(name, kind):
    if "image" in name or "shape" in name:  # slopes are all that a layer asks for
        return
    with pytest.raises((ll.InvalidInput, ll.UnsupportedLayer)):
        kind(3, 4, FALSE[name])
    layer = kind(3, 4)
    layer.activation = FALSE[name]
    with pytest.raises((ll.InvalidInput, ll.UnsupportedLayer)):
        layer.lipschitz_bound()


def test_a_slope_above_1_between_two_points_is_found():
    """Slopes that are said to be 0 and 1 everywhere, of a function that reaches 1.1."""

    class Bold(Silu):
        forward, image = Silu.forward, Silu.image

        def slopes(self, lower, upper):
            return torch.zeros_like(lower), torch.ones_like(upper)

    for kind, size in ((ll.layers.SLLLinear, 4), (ll.layers.SLLConv2d, 4), (ll.layers.SandwichLinear, 4)):
        with pytest.raises(ll.InvalidInput, match="Bold"):
            kind(3, size, activation=Bold())


PIECES = {
    "bends turned round": lambda one: (torch.stack([one, 0 * one]), torch.stack([0 * one, one, one])),
    "a slope left out": lambda one: (0 * one[None], one[None]),
    "a bend at another place": lambda one: (one[None], torch.stack([0 * one, one])),
    "another slope": lambda one: (0 * one[None], torch.stack([0 * one, 0.5 * one])),
    "no bend": lambda one: (one[None][:0], one[None]),
    "a slope that is NaN": lambda one: (0 * one[None], torch.stack([0 * one, NAN * one])),
    "a bend that is NaN": lambda one: (NAN * one[None], torch.stack([0 * one, one])),
}


@pytest.mark.parametrize("name", PIECES)
def test_false_pieces_are_refused(name):
    mine = wrong(pieces=lambda self, shape: PIECES[name](torch.ones(shape, dtype=torch.float64)))
    with pytest.raises(ll.InvalidInput, match="Mine"):
        ll.exact_bound(around(mine), torch.zeros(1, 3).double(), 1.0)


def test_a_right_rule_changes_nothing():
    x = torch.randn(4, 3).double()
    for bound in (*("global", "local", "path", "merged", "tightest", "exact"),):
        mine, theirs = (ll.BOUNDS[bound](around(act), x, 0.3).value for act in (Relu(), nn.ReLU()))
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=0)
    assert ll.layers.SLLLinear(3, 4, Relu()).lipschitz_bound() == 1


class Scaled(Monotone):
    """A slope for every unit, learnable."""

    def __init__(self, units):
        super().__init__()
        self.factor = nn.Parameter(torch.linspace(0.1, 1.0, units))

    def forward(self, z):
        return self.factor.to(z) * z

    def slopes(self, lower, upper):
        return (self.factor.to(lower).expand_as(lower),) * 2


def test_parameters_of_ones_own_activation():
    net, x = around(Scaled(6)), torch.zeros(1, 3).double()
    wanted = torch.linalg.matrix_norm(net[2].weight * net[1].factor @ net[0].weight, 2)
    assert wanted <= ll.local_bound(net, x, 1.0).value[0] * (1 + 1e-12)
    ll.local_bound(net, x, 1.0, differentiable=True).value.sum().backward()
    assert net[1].factor.grad.abs().sum() > 0
    assert ll.layers.SLLLinear(3, 6, Scaled(6)).lipschitz_bound() == 1
    assert ll.layers.SLLConv2d(3, 1, activation=Scaled(1)).lipschitz_bound() == 1
    steep = Scaled(6)
    steep.factor.data *= 1.01
    with pytest.raises(ll.UnsupportedLayer):
        ll.layers.SLLLinear(3, 6, steep)


def test_an_activation_that_writes_over_its_input_is_refused():
    def inside(self, z):
        return z.relu_()

    with pytest.raises(ll.InvalidInput, match="leaves z as it is"):
        ll.local_bound(around(wrong(forward=inside)), torch.randn(3, 3).double(), 0.1)


def test_ends_that_rounding_has_turned_round():
    act, z = read_activation(Scaled(1)), torch.ones(1, 1).double()
    low, high = act.image(z, z.nextafter(0 * z))
    assert low <= act(z) <= high


class Leaky(Activation):
    """z above 0, and below 0 as steep as the class says."""

    steep = 0.5

    def forward(self, z):
        return torch.where(z > 0, z, self.steep * z)

    def image(self, lower, upper):
        return self(lower), self(upper)

    def slopes(self, lower, upper):
        ends = torch.full_like(lower, self.steep), torch.ones_like(lower)
        return torch.minimum(*ends), torch.maximum(*ends)


def test_a_layer_that_writes_through_data_is_refused():
    def forward(self, z):
        z.data.copy_(z.relu())
        return z

    net = nn.Sequential(nn.Linear(2, 4), wrong(forward=forward), nn.Linear(4, 2)).double()
    with pytest.raises(ll.InvalidInput, match="leaves z as it is"):
        ll.local_bound(net, torch.zeros(1, 2).double(), 1.0)


def test_a_bound_is_refused_where_the_class_of_an_activation_states_other_numbers(monkeypatch):
    net, x, y = nn.Sequential(Leaky(), nn.Linear(1, 2)).double(), torch.ones(1, 1).double(), torch.tensor([0])
    net[1].weight.data, net[1].bias.data = torch.tensor([[1.0], [0.0]]).double(), torch.tensor([9.0, 0.0]).double()
    kept = ll.local_bound(net, x, 2.0)
    assert ll.certify(net, x, y, 2.0, bound=lambda *given: kept).holds
    monkeypatch.setattr(Leaky, "steep", 100.0)
    assert net(x - 2).argmax() == 1
    with pytest.raises(ll.InvalidInput, match="other weights or activations"):
        ll.certify(net, x, y, 2.0, bound=lambda *given: kept)


def test_a_class_that_changes_during_a_question_is_refused(monkeypatch):
    net, x = nn.Sequential(Leaky(), nn.Linear(1, 2)).double(), torch.ones(1, 1).double()

    def bound(net, x, eps):
        found = ll.local_bound(net, x, eps)
        monkeypatch.setattr(Leaky, "steep", 100.0)
        return found

    with pytest.raises(ll.InvalidInput, match="other weights"):
        ll.certify(net, x, net(x).argmax(1), 0.5, bound=bound)
