from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app
from lliptools.training.loop import SMALLEST_THETA

RECIPE = ll.training.recipe("digits-clipped")
TINY = replace(RECIPE, name="tiny", sizes=(64, 16, 10), epochs=12, sparsity=0.1, learning_rate=5e-3)


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


def test_certified_training_is_reproducible_and_learns(digits):
    one, other = (ll.training.fit(TINY, digits, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert one[1].theta.min() >= SMALLEST_THETA
    table = ll.certified_accuracy(one, digits.x_test, digits.y_test, TINY.eps)
    assert table.clean > 0.8
    untrained = ll.nets.mlp(*TINY.sizes, activation="clipped_relu").double()
    assert table.certified > ll.certified_accuracy(untrained, digits.x_test, digits.y_test, TINY.eps).certified


def test_worst_logits_decide_the_certificate(digits):
    net, x, y = ll.nets.load("digits-clipped"), digits.x_test, digits.y_test
    bound = ll.local_bound(net, x, 0.2)
    worst = ll.training.worst_logits(net(x), bound.pairwise(y), bound.eps, y)
    assert torch.equal(worst.gather(1, y[:, None]), net(x).gather(1, y[:, None]))
    runner_up = worst.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    assert torch.equal(ll.certify(net, x, y, 0.2).holds, worst.gather(1, y[:, None])[:, 0] > runner_up)
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
        ll.training.fit(TINY, broken)


def test_command_line(tmp_path):
    done = CliRunner().invoke(app, ["train", "moons", "--epochs", "2", "--seed", "5", "--to", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "certified" in done.output
    assert {path.name for path in tmp_path.iterdir()} == {"moons.safetensors", "provenance.json"}
    assert "--seed 5 --epochs 2" in (tmp_path / "provenance.json").read_text()
