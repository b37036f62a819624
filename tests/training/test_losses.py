import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import lliptools as ll
from lliptools.certificates.margins import largest_change
from lliptools.nets import ClippedReLU
from lliptools.training import EMMA, LMT, Annealed, Certified, Clean, GloRo, Offset, SharedNorm, estimated_bound
from lliptools.training.losses import adaptive_rise, annealed, worst_logits
from lliptools.training.objectives import ramped

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.5, 0.0, 1.0]]).double()
PAIRWISE = torch.tensor([[0.0, 2.0, 4.0], [3.0, 1.0, 0.0]]).double()
Y = torch.tensor([0, 2])
# eps = ½: worst logits [2, 2, 2] and [2, .5, 1]


def test_gloro_by_hand():
    first = math.log(math.exp(2) + math.exp(1) + 1 + math.exp(2)) - 2
    second = math.log(math.exp(0.5) + 1 + math.exp(1) + math.exp(2)) - 1
    assert ll.training.gloro(LOGITS, PAIRWISE, 0.5, Y).item() == pytest.approx((first + second) / 2)


def test_bcp_by_hand():
    worst = (math.log(3) + math.log(math.exp(1) + math.exp(-0.5) + 1)) / 2
    clean = cross_entropy(LOGITS, Y).item()
    assert ll.training.bcp(LOGITS, PAIRWISE, 0.5, Y).item() == pytest.approx(worst)
    assert ll.training.bcp(LOGITS, PAIRWISE, 0.5, Y, kappa=0.25).item() == pytest.approx(0.25 * clean + 0.75 * worst)


def test_classes_rise_within_their_own_radii():
    """Margins [0, 1, 2] and [½, 1, 0], which the ball takes by [0, 1, 2] and [1½, ½, 0]."""
    rise = adaptive_rise(LOGITS, PAIRWISE, 0.5, Y)
    torch.testing.assert_close(rise, torch.tensor([[0.0, 2.0, 4.0], [1.0, 1.0, 0.0]]).double())
    lost = adaptive_rise(-LOGITS, PAIRWISE, 0.5, Y)  # no margin: a hundredth of the ball
    torch.testing.assert_close(lost, 0.01 * PAIRWISE)
    logits = LOGITS.clone().requires_grad_()
    found = torch.autograd.grad(EMMA(0.5).loss(logits, PAIRWISE, 0.5, Y, 1.0), logits)[0]
    fixed = torch.autograd.grad(cross_entropy(logits + 0.5 * rise, Y), logits)[0]
    torch.testing.assert_close(found, fixed)


def test_annealed_by_hand():
    logits = LOGITS.clone().requires_grad_()
    p = (logits / 0.75).softmax(dim=1)[[0, 1], Y]
    by_hand = (-0.75 * (1 - p) ** 5 * p.log()).mean()
    found = annealed(logits, Y)
    torch.testing.assert_close(found, by_hand)
    one, other = (torch.autograd.grad(loss, logits)[0] for loss in (found, by_hand))
    torch.testing.assert_close(one, other)
    plain = Annealed(0.5, temperature=1.0).loss(logits, PAIRWISE, 0.0, Y, 0.0)  # before the radius grows
    torch.testing.assert_close(plain, cross_entropy(logits, Y))
    won = torch.tensor([[200.0, 0.0]]).requires_grad_()
    assert torch.autograd.grad(annealed(won, torch.tensor([0]), beta=0.5), won)[0].isfinite().all()


def test_two_shells_charge_the_mean_of_their_bounds():
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    x, y = data.x_test[:40], data.y_test[:40]
    pairwise = sum(ll.local_bound(net, x, eps).pairwise(y) for eps in (0.1, 0.2)) / 2
    expected = cross_entropy(worst_logits(net(x), pairwise, 0.2, y), y)
    found = Certified(0.2, bound="shells")(net, x, y, 1.0)
    torch.testing.assert_close(found, expected)
    norm = SharedNorm(8)
    close = [Certified(0.2, bound="shells")(net, x, y, 1.0, norm).item() for _ in range(4)]
    assert close[-1] == pytest.approx(expected.item(), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.ReLU, ClippedReLU, nn.Tanh])
def test_gradient_through_centred_slopes(activation):
    """To weights, biases and thresholds, where the vectors of the norms have converged, against differences."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 6), activation(), nn.Linear(6, 5), activation(), nn.Linear(5, 3)).double()
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    norm, each = SharedNorm(3), torch.eye(4, dtype=torch.int64)

    def loss():
        for _ in range(50):
            bound = estimated_bound(net, x, 0.3, norm, centred=True, groups=each)
        return ll.training.bcp(bound.outputs, bound.pairwise(y), 0.3, y)

    parameters = list(net.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss(), parameters), strict=True):
        index, ends = gradient.abs().flatten().argmax(), []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.view(-1)[index] += step
                ends.append(loss().item())
                parameter.view(-1)[index] -= step
        assert gradient.flatten()[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_lmt_by_hand():
    L, eps = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.5, 0.25]).double()
    rise = math.sqrt(2) / 2
    first = math.log(1 + math.exp(-1 + rise) + math.exp(-2 + rise))
    second = math.log(math.exp(-0.5 + rise) + math.exp(-1 + rise) + 1)
    assert ll.training.lmt(LOGITS, L, eps, Y).item() == pytest.approx((first + second) / 2)


def test_sparsity_of_clipped_maxmin_by_hand():
    net = ll.nets.mlp(1, 2, 2, activation="clipped_maxmin", theta=0.4).double()
    net[0].weight.data, net[0].bias.data = torch.ones(2, 1).double(), torch.tensor([0.0, -1.0]).double()
    bound = ll.local_bound(net, torch.tensor([[0.5]]).double(), 0.25)
    # boxes [.25, .75] and [−.75, −.25]: the larger is at least .25, .15 below θ_max, the smaller at most −.25
    assert ll.training.sparsity_loss(net, bound).item() == pytest.approx(0.15 + 0.15)


def test_gradient_of_the_exact_last_layer():
    """t is taken as given: what it would add is 0."""
    torch.manual_seed(0)
    direction = torch.randn(2, 3, 5).double().requires_grad_()
    radius = torch.tensor([0.5, 1.0]).double().requires_grad_()
    below, above = (torch.rand(2, 5).double().requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(largest_change, (direction, radius, below, above))


def test_ramps():
    assert [ramped(at, 0.2, 0.4) for at in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [ramped(at, 0.5, 0.0) for at in (0.5, 0.6)] == [0.0, 1.0]
    assert [ramped(at, 0.0, 0.5) for at in (0.0, 0.25, 0.75)] == [0.0, 0.5, 1.0]


OBJECTIVES = (
    *(Clean(), Offset(0.2), Certified(0.1), Certified(0.1, sparsity=0.1)),
    *(GloRo(0.1), GloRo(0.1, bound="global"), GloRo(0.1, sparsity=0.1), LMT(0.1), LMT(0.1, bound="local")),
    *(Certified(0.1, bound="centred"), Certified(0.1, bound="shells"), EMMA(0.1, bound="centred"), Annealed(0.1)),
)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("activation", ["clipped_relu", "clipped_maxmin"])
def test_losses_fall(objective, activation):
    data = ll.training.digits()
    x, y = data.x_train[:64].float(), data.y_train[:64]
    torch.manual_seed(0)
    net = ll.nets.mlp(64, 24, 24, 10, activation=activation, theta=0.3)
    norm = SharedNorm()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        loss = objective(net, x, y, 0.75, norm)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    exact, close = (objective(net, x, y, 0.75, chosen).item() for chosen in (None, norm))
    assert close == pytest.approx(exact, rel=0.1)
    assert objective(net, x, y, 0.0, norm).isfinite()


def test_objectives_refuse():
    with pytest.raises(ll.InvalidInput, match="bound"):
        GloRo(0.1, bound="exact")
    with pytest.raises(ll.InvalidInput, match="sparsity"):
        GloRo(0.1, bound="global", sparsity=1.0)


def test_a_run_with_estimated_norms():
    recipe = replace(
        ll.training.recipe("digits-clipped"),
        network=partial(ll.nets.mlp, 64, 24, 10, activation="clipped_relu", theta=0.3),
        objective=GloRo(0.1),
        epochs=8,
        learning_rate=1e-2,
        dtype=torch.float32,
        norm_steps=2,
    )
    data, nets = ll.training.digits(), []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(ll.training.fit(recipe.network(), data, recipe).net)
    one, other = (net.state_dict().values() for net in nets)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert ll.certified_accuracy(nets[0], data.x_test[:100], data.y_test[:100], 0.1).certified > 0.5


def test_a_low_temperature_is_the_hinge_of_the_worst_margin():
    net, data = ll.nets.load("digits-relu"), ll.training.digits()
    x, y = data.x_test[:40], data.y_test[:40]
    worst = worst_logits(net(x), ll.local_bound(net, x, 0.2).pairwise(y), 0.2, y)
    own = torch.nn.functional.one_hot(y, 10).bool()
    behind = worst.masked_fill(own, -torch.inf).amax(dim=1) - worst[own]
    hinge = behind.relu().mean().item()
    assert hinge > 0
    losses = [Certified(0.2, temperature=tau)(net, x, y, 1.0).item() for tau in (1.0, 0.1, 1e-3)]
    assert losses[0] > losses[1] > losses[2] >= hinge - 1e-12
    assert losses[2] == pytest.approx(hinge, abs=1e-2)


def test_the_adversarial_loss_is_that_of_the_attacked_points():
    net, data = ll.nets.load("digits-relu").float(), ll.training.digits()
    x, y = data.x_test[:40].float(), data.y_test[:40]
    objective = ll.training.Adversarial(0.4, steps=5, ramp=0.5)
    losses = [objective(net, x, y, progress).item() for progress in (0.0, 0.25, 0.5, 1.0)]
    assert losses[0] == cross_entropy(net(x), y).item()
    assert losses[0] < losses[1] < losses[2] == losses[3]
    attacked = ll.attacks.pgd(net, x, y, 0.4, steps=5, restarts=1)
    assert losses[3] == pytest.approx(cross_entropy(net.double()(attacked), y).item(), rel=1e-5)
    assert (attacked - x).flatten(1).norm(dim=1).max() <= 0.4


def test_objectives_are_changed_by_name():
    one = ll.training.Certified(0.3, sparsity=2.0, warmup=0.1, ramp=0.4)
    changed = ll.training.changed
    assert changed(one) is one
    assert changed(one, "gloro") == GloRo(0.3, sparsity=2.0, warmup=0.1, ramp=0.4)
    assert changed(one, "gloro", "global") == GloRo(0.3, bound="global", warmup=0.1, ramp=0.4)
    assert changed(one, None, "global") == ll.training.Certified(0.3, warmup=0.1, ramp=0.4, bound="global")
    assert changed(one, "lmt").bound == "local"
    assert changed(one, "clean") == ll.training.Clean()
    assert changed(one, "adversarial") == ll.training.Adversarial(0.3, warmup=0.1, ramp=0.4)
    assert changed(one, "emma", "centred") == EMMA(0.3, sparsity=2.0, warmup=0.1, ramp=0.4, bound="centred")
    assert changed(one, "annealed") == Annealed(0.3, sparsity=2.0, warmup=0.1, ramp=0.4)
    assert changed(changed(one, "adversarial"), "bcp", "global") == Certified(0.3, 0.0, 0.1, 0.4, "global")
    for objective, loss, bound in (
        (ll.training.Clean(), "gloro", None),
        (ll.training.Offset(1.0), None, "local"),
        (one, "hinge", None),
        (one, "clean", "local"),
        (one, None, "tightest"),
    ):
        with pytest.raises(ll.InvalidInput):
            changed(objective, loss, bound)
