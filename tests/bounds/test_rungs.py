"""The ladder: sampled ≤ exact ≤ tightest ≤ local ≤ global, and what merging is worth where the truth is known."""

from itertools import pairwise

import pytest
import torch
from networks import NETWORKS, PIECEWISE, RADII, in_ball, jacobians, points, random_mlp
from torch import nn

import lliptools as ll
from lliptools.bounds.merged import FULL
from lliptools.domains import Ball, Interval

pytestmark = pytest.mark.slow

SLACK = 1 + 1e-9
DRAWN = (
    1000  # samples a point and radius: 26 networks × 7 radii × 6 points × 1000 are 1,092,000 of them, for every rung
)


@pytest.mark.parametrize("eps", RADII)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_rung_falls_below_a_sample(name, eps):
    """Jacobians and pair slopes at samples of the ball, against every upper bound and its pairwise form."""
    net = NETWORKS[name]()
    x = points(net)
    y = net(x).argmax(dim=1)
    upper = [bound(net, x, eps) for rung, bound in ll.BOUNDS.items() if rung not in ("exact", "sampled")]
    upper += [ll.local_bound(net, x, eps, domain=FULL)]
    values = torch.stack([bound.value for bound in upper])
    pairs = torch.stack([bound.pairwise(y) for bound in upper])
    exact = net.double()
    for k, center in enumerate(x):
        samples = in_ball(center, eps, DRAWN, seed=k)
        slopes = jacobians(exact, samples).detach()
        assert torch.linalg.matrix_norm(slopes, 2).max() <= values[:, k].min() * SLACK
        between = (slopes[:, y[k] : y[k] + 1] - slopes).norm(dim=2).amax(dim=0)
        assert (between <= pairs[:, k].amin(dim=0) * SLACK).all()
        outputs = exact(samples).detach()
        changes = (outputs[1:] - outputs[:-1]).norm(dim=1)
        rounding = 1e-13 * (1 + outputs.abs().max())  # a difference of outputs loses digits
        assert (changes <= values[:, k].min() * (samples[1:] - samples[:-1]).norm(dim=1) * SLACK + rounding).all()


@pytest.mark.parametrize("eps", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("name", PIECEWISE)
def test_the_order_of_the_rungs(name, eps):
    net = NETWORKS[name]()
    x = points(net, 3)
    rungs = ("sampled", "exact", "tightest", "local", "global")
    values = [ll.BOUNDS[rung](net, x, eps).value for rung in rungs]
    for smaller, larger in pairwise(values):
        assert (smaller <= larger * SLACK).all()
    prefix = ll.local_bound(net, x, eps, domain=FULL)
    local = ll.local_bound(net, x, eps)
    for one, other in zip(prefix.blocks, local.blocks, strict=True):
        assert (one.box.lower >= other.box.lower - 1e-12 * (1 + other.box.lower.abs())).all()
    assert (prefix.value <= local.value * SLACK).all()


def test_rungs_of_the_moons_come_close_to_the_truth():
    net, x = ll.nets.load("moons"), ll.training.moons().x_test[:64]
    exact = ll.exact_bound(net, x, 0.05).value
    ratio = {name: (ll.BOUNDS[name](net, x, 0.05).value / exact).mean() for name in ("global", "local", "tightest")}
    assert ratio["tightest"] < 1.01 < 1.5 < ratio["local"] < 2 < ratio["global"]


def test_global_semidefinite_bound_of_a_fold():
    """x = relu(x) − relu(−x): the multipliers cannot do better than 2 on the whole space."""
    bound = ll.merged_bound(ll.nets.fold(2, 1), torch.ones(1, 2), torch.inf, steps=60)
    assert bound.value.item() == pytest.approx(2.0, rel=1e-3)
    assert bound.value.item() >= 2.0 - 1e-9


def test_merging_tends_to_the_gradient():
    """As eps → 0 the merged bound is the norm of the Jacobian, which the product of norms is not."""
    net = NETWORKS["relu"]()
    x = points(net)
    slope = torch.linalg.matrix_norm(jacobians(net, x), 2)
    torch.testing.assert_close(ll.merged_bound(net, x, 1e-9).value, slope, rtol=1e-6, atol=0)
    assert (ll.local_bound(net, x, 1e-9).value > 1.2 * slope).any()


def test_the_path_is_above_the_multipliers():
    net = NETWORKS["relu"]()
    x, y = points(net), torch.zeros(6, dtype=torch.int64)
    path, merged = ll.bounds.path_bound(net, x, 0.2), ll.merged_bound(net, x, 0.2)
    assert (merged.value <= path.value * SLACK).all()
    assert (merged.pairwise(y) <= path.pairwise(y) * SLACK).all()
    assert (path.pairwise(y)[:, 0] == 0).all()


def test_steps_never_make_it_worse():
    net = NETWORKS["deep"]()
    x = points(net)
    values = [ll.merged_bound(net, x, 0.2, steps=steps).value for steps in (0, 8, 40)]
    assert (values[1] <= values[0] * SLACK).all()
    assert (values[2] <= values[1] * SLACK).all()
    for steps in (-1, 0.5, True):
        with pytest.raises(ll.InvalidInput, match="steps"):
            ll.merged_bound(net, x, 0.2, steps=steps)


def test_large_layers_leave_the_tightest_at_the_masks():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 32 * 32, 3))
    x = torch.rand(2, 1, 32, 32)
    y = torch.zeros(2, dtype=torch.int64)
    found, local = ll.tightest_bound(net, x, 0.1), ll.local_bound(net, x, 0.1)
    assert torch.equal(found.value, local.value)
    assert torch.equal(found.pairwise(y), local.pairwise(y))


def test_multipliers_keep_to_their_points():
    """In the first ball too many units are unstable, so that they serve the second alone, and with its own label."""
    net = random_mlp(3, 400, 4)
    x, y = points(net, 2), torch.tensor([0, 1])
    bound = ll.tightest_bound(net, x, torch.tensor([10.0, 1e-6]))
    local = ll.local_bound(net, x, torch.tensor([10.0, 1e-6])).value
    assert (bound.value < local * (1 - 1e-6)).tolist() == [False, True]
    slopes = jacobians(net, x).detach()
    between = (slopes[torch.arange(2), y][:, None] - slopes).norm(dim=2)
    assert (between <= bound.pairwise(y) * SLACK).all()


def test_domain():
    """Pixels are not darker than 0: a unit that would need it is constant."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-1.0], [1.0]]))
        net[0].bias.copy_(torch.tensor([-0.5, 0.0]))
        net[2].weight.fill_(1.0)
    x = torch.tensor([[0.1]]).double()
    free, confined = ll.local_bound(net, x, 1.0), ll.local_bound(net, x, 1.0, domain=Interval.confined(0.0, 1.0) & Ball)
    assert free.blocks[0].slope.tolist() == [[1.0, 1.0]]
    assert confined.blocks[0].slope.tolist() == [[0.0, 1.0]]
    assert confined.value < free.value
    with pytest.raises(ll.InvalidInput, match="around x"):
        ll.local_bound(net, x - 1, 1.0, domain=Interval.confined(0.0, 1.0) & Ball)


@pytest.mark.parametrize("delta", [0, 1.0, float("nan")])
def test_a_probability_that_is_none_is_refused(delta):
    with pytest.raises(ll.InvalidInput, match="probability"):
        ll.bounds.UpperNorm(delta=delta)


def test_the_global_bound_masks_nothing():
    """A clip bounds what comes after it, so that its units may be constant on the whole space: not in ∏ ‖W_k‖."""
    net = nn.Sequential(
        nn.Linear(3, 5), ll.nets.ClippedReLU(0.5), nn.Linear(5, 4), ll.nets.ClippedReLU(0.5), nn.Linear(4, 2)
    ).double()
    net[2].bias.data.fill_(-100.0)
    x = torch.zeros(2, 3).double()
    product = torch.stack([torch.linalg.matrix_norm(net[k].weight, 2) for k in (0, 2, 4)]).prod()
    torch.testing.assert_close(ll.global_bound(net, x).value, product.expand(2), rtol=1e-12, atol=0)
    assert (ll.local_bound(net, x, torch.inf).value == 0).all()


def test_estimates_are_for_training_and_certify_nothing():
    net = NETWORKS["float32"]()
    x = points(net)
    bound = ll.training.estimated_bound(net, x, 0.1, ll.bounds.exact_norm)
    assert bound.value.dtype == torch.float32
    # Of boxes by the ball alone: no less than the local bound, which knows more, and the same as with its own domain.
    assert (bound.value >= (1 - 1e-5) * ll.local_bound(net, x, 0.1).value).all()
    assert (bound.value <= (1 + 1e-5) * ll.global_bound(net, x).value).all()
    by_ball = ll.local_bound(net, x, 0.1, domain=ll.domains.Light)
    torch.testing.assert_close(bound.value.double(), by_ball.value, rtol=1e-4, atol=0)
    y = torch.zeros(6, dtype=torch.int64)
    with pytest.raises(ll.InvalidInput, match="estimate"):
        ll.certify(net, x, y, 0.1, lambda *a: ll.training.estimated_bound(*a[:2], 0.1, ll.bounds.exact_norm))
