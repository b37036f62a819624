from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

import lliptools as ll
from lliptools.training.loop import SMALLEST_THETA
from lliptools.training.losses import offset_cross_entropy, worst_logits
from lliptools.training.recipes import hold_then_fall, triangle

RECIPE = ll.training.recipe("digits-clipped")
TINY = replace(
    RECIPE,
    name="tiny",
    network=partial(ll.nets.mlp, 64, 16, 10, activation="clipped_relu"),
    objective=ll.training.Certified(eps=0.1, sparsity=0.1),
    epochs=12,
    learning_rate=5e-3,
)


def trained(recipe, data, seed=0):
    torch.manual_seed(seed)
    return ll.training.fit(recipe.network().to(recipe.dtype), data, recipe).net


@pytest.fixture(scope="module")
def digits():
    return ll.training.digits()


def test_data(digits):
    assert digits.x_train.shape == (1437, 64)
    assert digits.x_test.shape == (360, 64)
    assert digits.x_train.min() == 0
    assert digits.x_train.max() == 1
    assert digits.y_test.bincount().min() >= 33
    moons = ll.training.moons()
    assert moons.x_train.shape == (800, 2)
    assert moons.to("cpu").y_test.dtype == torch.int64


@pytest.mark.slow
def test_certified_training_is_reproducible_and_learns(digits):
    one, other = (trained(TINY, digits, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert one[1].theta.min() >= SMALLEST_THETA
    table = ll.certified_accuracy(one, digits.x_test, digits.y_test, 0.1)
    assert table.clean > 0.8
    untrained = TINY.network().double()
    assert table.certified > ll.certified_accuracy(untrained, digits.x_test, digits.y_test, 0.1).certified


def test_worst_logits_decide_the_certificate(digits):
    net, x, y = ll.nets.load("digits-clipped"), digits.x_test, digits.y_test
    bound = ll.local_bound(net, x, 0.2)
    worst = worst_logits(net(x), bound.pairwise(y), bound.eps, y)
    assert torch.equal(worst.gather(1, y[:, None]), net(x).gather(1, y[:, None]))
    runner_up = worst.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    assert torch.equal(ll.certify(net, x, y, 0.2, centred=False).holds, worst.gather(1, y[:, None])[:, 0] > runner_up)
    assert cross_entropy(worst, y) >= cross_entropy(net(x), y)


def test_sparsity_loss_by_hand():
    net = ll.nets.mlp(1, 2, 2, activation="clipped_relu", theta=1.0).double()
    net[0].weight.data, net[0].bias.data = torch.ones(2, 1).double(), torch.tensor([0.0, -1.0]).double()
    bound = ll.local_bound(net, torch.tensor([[0.5]]).double(), 0.25)
    # boxes [.25, .75] and [−.75, −.25]: mean(relu(upper)) = .375; mean(relu(1 − lower)) = (.75 + 1.75) / 2
    assert ll.training.sparsity_loss(net, bound).item() == pytest.approx(0.375 + 0.1 * 1.25)
    plain = ll.nets.load("moons")
    moons = ll.training.moons().x_test
    with pytest.raises(ll.InvalidInput, match="clipped"):
        ll.training.sparsity_loss(plain, ll.local_bound(plain, moons, 0.1))


def test_a_loss_that_is_not_finite_stops(digits):
    broken = replace(digits, x_train=digits.x_train * torch.nan)
    with pytest.raises(FloatingPointError, match="tiny is nan in epoch 0"):
        trained(TINY, broken)


def test_a_recipe_that_does_not_exist():
    with pytest.raises(ll.InvalidInput, match="lliptools recipes"):
        ll.training.recipe("cifar")


def test_offset_cross_entropy_by_hand():
    logits, y = torch.tensor([[2.0, 1.0], [0.0, 0.5]]).double(), torch.tensor([0, 1])
    # behind: [2 − .75, 1], [0, .5 − .75]; over τ = .5, logistic of the differences −.5 and .5
    expected = 0.5 * torch.tensor([-0.5, 0.5]).double().exp().log1p().mean()
    found = offset_cross_entropy(logits, y, offset=0.75, temperature=0.5)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_schedules():
    fall = partial(hold_then_fall, end=1e-3)
    assert [fall(1e-1, epoch, 4) for epoch in range(3)] == [0.1, 0.1, 0.1]
    assert fall(1e-1, 3, 4) == pytest.approx(1e-2)
    assert [triangle(1.0, epoch, 4, top=0.5) for epoch in range(4)] == pytest.approx([0.25, 0.75, 0.75, 0.25])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["spectral", "aol", "cpl", "sll", "cayley", "bro", "sandwich"])
def test_networks_by_design_learn(digits, kind):
    """After a few epochs the margins certify more points than at the start, and the guarantee still holds."""
    recipe = replace(ll.training.recipe(f"{kind}-digits"), epochs=4)
    net = trained(recipe, digits)
    x, y = digits.x_test[:100], digits.y_test[:100]
    assert ll.certified_accuracy(net, x, y, 0.1).certified > 0.6
    assert ll.global_bound(net[:-1], x).value.max() <= 1
    images = recipe.network()
    assert [type(layer) for layer in images] == [type(layer) for layer in net]


@pytest.mark.slow
def test_the_papers_networks():
    """As many parameters as the paper says, nearly all of them in dense layers."""
    for size, millions in (("small", 41), ("medium", 79), ("large", 118), ("xlarge", 236)):
        convolutions, dense, channels = ll.layers.networks.SIZES[size]
        features = channels * 8 * 8
        last, of_one, of_dense = features * 10 + 10, channels * 5 * 9 + 10, features * 2048 + 2 * 2048
        assert round((convolutions * of_one + dense * of_dense + last) / 1e6) == millions
    recipe = ll.training.recipe("sll-small")
    net = recipe.network()
    count = sum(p.numel() for p in net.parameters())
    assert round(count / 1e6) == 41
    dense = sum(p.numel() for m in net if isinstance(m, ll.layers.SLLLinear) for p in m.parameters())
    assert dense / count > 0.998
    assert recipe.objective == ll.training.Offset(3 * 2**0.5 / 2)
    x = torch.rand(2, 3, 32, 32)
    assert net(x).shape == (2, 10)
