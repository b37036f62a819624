"""NaN never passes: put into any step of a bound it certifies nothing; returned by an answer it is not right."""

import math
from functools import partial

import pytest
import torch
from networks import NETWORKS, points, random_mlp
from torch import nn
from torch.nn.functional import cross_entropy
from torch.overrides import TorchFunctionMode

import lliptools as ll
from lliptools.bounds.merged import FULL

# What only looks at a tensor, or fills one with a number that is known.
QUIET = {"detach", "view", "reshape", "expand", "empty", "new_empty", "zeros", "full", "full_like", "ones_like"}


class Spoiled(TorchFunctionMode):
    """One entry of what the n-th function of torch returns is NaN."""

    def __init__(self, number):
        super().__init__()
        self.number, self.seen = number, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if not isinstance(found, torch.Tensor) or not found.is_floating_point() or not found.numel():
            return found
        if function.__name__ in QUIET | {"__get__", "__set__", "requires_grad_"}:
            return found
        self.seen += 1
        if self.seen == self.number:
            found = found.clone()
            found.view(-1)[self.number % found.numel()] = torch.nan
        return found


BOUNDS = {  # and of how many functions one is spoiled
    "local": (ll.local_bound, 47),
    "prefix": (partial(ll.local_bound, domain=FULL), 127),
    "tightest": (ll.tightest_bound, 397),
    "gram": (partial(ll.local_bound, norm=ll.bounds.GramNorm(3)), 127),
    "cholesky": (partial(ll.local_bound, norm=ll.bounds.CholeskyNorm()), 127),
    "aposteriori": (partial(ll.local_bound, norm=ll.bounds.AposterioriNorm()), 127),
    "fft": (partial(ll.local_bound, norm=ll.bounds.torus_norm), 127),
}
NETS = {
    "clipped": lambda: random_mlp(3, 6, 5, 3, activation="clipped_relu"),
    "clipped maxmin": NETWORKS["clipped maxmin"],
    "residual, clipped": NETWORKS["residual, clipped"],
}


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.slow
def test_a_spoiled_number_makes_no_bound_smaller_and_certifies_nothing(name, bound):
    net, (bound_of, every) = NETS[name](), BOUNDS[bound]
    x = points(net, 2)
    y = net(x).argmax(dim=1)
    close = 1e-5 if bound == "aposteriori" else 1e-9  # another matrix has another random start

    def certified(number):
        with Spoiled(number) as mode:
            found = ll.certify(net, x, y, 0.3, bound_of)
        return found.bound.value, found.worst_margin, found.holds, mode.seen

    wanted, worst, holds, calls = certified(0)
    if bound == "cholesky":  # its proofs leave a margin that another proof may not: never below the exact norms
        exact = ll.certify(net, x, y, 0.3, partial(ll.local_bound, norm=ll.bounds.exact_norm))
        wanted, worst, holds = exact.bound.value, exact.worst_margin, exact.holds
    if bound == "tightest":  # its search may end at better multipliers, but never below the truth
        wanted, worst = ll.sampled_bound(net, x, 0.3, centred=True).value, torch.full_like(worst, torch.inf)
        holds = ll.attacks.is_correct(net, ll.attacks.pgd(net, x, y, 0.3), y)
    for number in range(1 + len(name) % every, calls, every):
        try:
            value, margin, proved, _ = certified(number)
        except (ll.InvalidInput, ll.UnsupportedLayer, RuntimeError):  # a solver that finds no eigenvalue raises
            continue
        assert not (value < wanted * (1 - close)).any(), number
        assert not (margin > worst + close * worst.abs()).any(), number
        assert not (proved & ~holds).any(), number


class Relu(ll.nets.Activation):
    """Slopes that are NaN where the unit is on."""

    def forward(self, z):
        return z.relu()

    def image(self, lower, upper):
        return lower.relu(), upper.relu()

    def slopes(self, lower, upper):
        return 0 * lower, torch.where(upper > 0, torch.nan, 0.0).to(upper)


def test_no_bound_is_0_for_slopes_that_are_nan():
    net = nn.Sequential(nn.Linear(2, 2), Relu(), nn.Linear(2, 2)).double()
    x = torch.ones(1, 2).double()
    with pytest.raises(ll.InvalidInput, match="NaN"):
        ll.local_bound(net, x, 0.1)


@pytest.mark.parametrize("method", ll.bounds.METHODS)
@torch.no_grad()
def test_no_norm_reads_nan_as_nothing(method):
    torch.manual_seed(0)
    linear = ll.nets.read_blocks(nn.Sequential(nn.Linear(4, 3)).double(), torch.Size([4]))[0].linear
    rows, columns = torch.ones(2, 3).double(), torch.ones(2, 4).double()
    wanted = ll.bounds.METHODS[method](linear, rows, columns)
    assert wanted.isfinite().all()
    for slopes in (rows, columns):
        slopes[1, 1] = torch.nan
        try:
            found = ll.bounds.METHODS[method](linear, rows, columns)
        except RuntimeError:
            continue
        finally:
            slopes[1, 1] = 1.0
        assert not found[1] < wanted[1] * (1 - 1e-5) or method == "power"  # which certifies nothing


@pytest.mark.parametrize("kind", [ll.layers.SLLLinear, ll.layers.CayleyLinear, ll.layers.NormalizedLinear])
def test_no_layer_guarantees_anything_with_nan_in_it(kind):
    for value in (math.nan, math.inf):
        layer = kind(3, 4)
        layer.weight.data[0, 0] = value
        with pytest.raises(ll.InvalidInput, match="finite"):
            layer.lipschitz_bound()


def test_no_condition_holds_with_nan_in_it():
    eye, one = torch.eye(2).double(), torch.ones(2).double()
    condition = ll.layers.condition
    for spoiled in (
        lambda value: condition.slack(eye, one * value),
        lambda value: condition.slack(eye * value, one),
        lambda value: condition.lmi_slack(eye, eye, eye, one, value),
        lambda value: condition.lmi_slack(eye, eye, eye, one * value, 1.0),
        lambda value: condition.lmi_slack(eye, eye * value, eye, one, 1.0),
        lambda value: condition.lmi_slack(eye * value, eye, eye, one, 1.0),
        lambda value: condition.gershgorin_scale(eye, one * value),
    ):
        for value in (math.nan, math.inf):
            with pytest.raises(ll.InvalidInput):
                spoiled(value)
    assert not condition.slack(1e200 * eye, one) >= 0  # the product overflows
    assert (condition.gershgorin_scale(1e-200 * eye, one) > 0).all()  # and here it underflows


def gloro(logits, pairwise, eps, y):
    worst = (logits + eps * pairwise).scatter(1, y[:, None], -torch.inf).amax(dim=1, keepdim=True)
    return cross_entropy(torch.cat([logits, worst], dim=1), y)


def nothing(*tensors):
    """0, with a gradient that is NaN."""
    return sum((tensor * 0).sum().sqrt() for tensor in tensors)


def local(net, x, y, eps, kappa):
    bound = ll.local_bound(net, x, eps, differentiable=True)
    worst = net(x) + eps * bound.pairwise(y)
    return kappa * cross_entropy(net(x), y) + (1 - kappa) * cross_entropy(worst, y)


def test_a_loss_whose_gradient_is_nan_is_not_right():
    assert ll.check.gloro_loss(gloro).status == "right"
    found = ll.check.gloro_loss(lambda f, lip, eps, y: gloro(f, lip, eps, y) + nothing(f, lip))
    assert found.status == "wrong"
    assert ll.check.local_loss(local).status == "right"
    found = ll.check.local_loss(lambda net, *rest: local(net, *rest) + nothing(*net.parameters()))
    assert found.status == "wrong"


def test_scales_that_overflow_are_not_equal():
    spread = ll.check.q_of_sn(lambda W: torch.logspace(-300, 300, W.shape[1], dtype=torch.float64))
    assert spread.status == "wrong"


def test_an_attack_stays_in_the_ball_and_goes_on_where_a_gradient_is_nan():
    """Beyond 0 the logits are inf − inf."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    net[0].bias.data = torch.zeros(2).double()
    net[0].weight.data = torch.full((2, 1), 1e300, dtype=torch.float64)
    net[2].weight.data = torch.tensor([[1e200, -1e200], [0.0, 0.0]], dtype=torch.float64)
    net[2].bias.data = torch.tensor([1.0, 0.0], dtype=torch.float64)
    x, y = torch.tensor([[-1.0]]).double(), torch.tensor([0])
    assert ll.attacks.is_correct(net, x, y)
    found = ll.attacks.pgd(net, x, y, 3.0)
    assert (found - x).abs() <= 3.0
    assert not ll.attacks.is_correct(net, found, y)
    assert not ll.certify(net, x, y, 3.0).holds
