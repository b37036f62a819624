import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import ClippedReLU
from lliptools.training import batches, fit

TINY = replace(
    ll.training.recipe("digits-clipped"),
    name="tiny",
    network=partial(ll.nets.mlp, 64, 16, 10, activation="clipped_relu"),
    objective=ll.training.Certified(eps=0.1, sparsity=0.1),
    epochs=4,
)
MOONS = replace(ll.training.recipe("moons"), epochs=4)


@pytest.fixture(scope="module")
def digits():
    split = ll.training.digits()
    return replace(split, x_train=split.x_train[:500], y_train=split.y_train[:500])


def built(recipe, seed=0):
    torch.manual_seed(seed)
    return recipe.network().to(recipe.dtype)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def plain_loop(net, data, recipe):
    """The loop and nothing else: what fit has to agree with to the last bit."""
    optimizer = torch.optim.AdamW(
        net.parameters(), recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay
    )
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.schedule(recipe.learning_rate, epoch, recipe.epochs)
        for x, y in batches(data.x_train, data.y_train, recipe.batch_size, augment=recipe.augment, dtype=recipe.dtype):
            loss = recipe.objective(net.train(), x, y, epoch / recipe.epochs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for layer in net:
                if isinstance(layer, ClippedReLU):
                    layer.theta.data.clamp_(min=1e-3)
    return net


def test_it_is_the_plain_loop_bit_by_bit(digits):
    images = torch.randint(0, 256, (150, 1, 6, 6), dtype=torch.uint8), torch.arange(150) % 10
    designed = replace(
        ll.training.recipe("sll-mnist"),
        network=partial(ll.layers.lipschitz_cnn, "sll", (1, 6, 6), 10, channels=3, convolutions=1, dense=1, inner=8),
        augment=ll.training.crop_and_flip,
        epochs=2,
    )
    dropping = replace(TINY, network=partial(nn.Sequential, nn.Linear(64, 10), nn.Dropout()))
    dropping = replace(dropping, objective=ll.training.Clean())
    for recipe, data in ((TINY, digits), (designed, ll.training.Split(*images, *images)), (dropping, digits)):
        net = built(recipe)
        start = {name: value.clone() for name, value in net.state_dict().items()}
        drawn = torch.get_rng_state()
        plain_loop(net, data, recipe)
        then = torch.rand(3)
        other = built(recipe)
        other.load_state_dict(start)
        torch.set_rng_state(drawn)
        assert same(fit(other, data, recipe, callback=lambda history: torch.rand(7) is None).net, net)
        assert torch.equal(torch.rand(3), then)
        assert not other.training


def test_a_seed_of_its_own_decides_the_order():
    data, nets = ll.training.moons(), []
    start = built(MOONS).state_dict()
    for torch_seed, seed in ((5, 1), (6, 1), (5, 2)):
        net = built(MOONS, torch_seed)
        net.load_state_dict(start)
        before = torch.get_rng_state()
        nets.append(fit(net, data, MOONS, seed=seed).net)
        assert torch.equal(torch.get_rng_state(), before)
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_history(digits):
    seen = []
    recipe = replace(TINY, hold_out=60, learning_rate=1e-2)
    without_test = replace(digits, x_test=digits.x_test[:0], y_test=digits.y_test[:0])
    history = fit(built(recipe), without_test, recipe, callback=seen.append)
    assert [len(each) for each in seen] == [1, 2, 3, 4]
    assert seen[-1].epochs == history.epochs
    assert history["epoch"] == [0, 1, 2, 3]
    assert history["learning_rate"] == [TINY.schedule(1e-2, epoch, 4) for epoch in range(4)]
    assert 0 < history["clean"][0] < history["clean"][-1] < 1
    assert min(history["seconds"]) > 0
    held = digits.hold_out(60)
    table = ll.certified_accuracy(history.net, held.x_validation, held.y_validation, 0.1)
    assert history["validation_clean"][-1] == table.clean
    assert history["validation_certified"][-1] == table.certified
    certified = history["validation_certified"]
    assert certified[history.best] == max(certified)
    head, last, best = str(history).splitlines()
    assert head == "tiny: 4 epochs"
    assert last.startswith("last: epoch 3, learning rate ")
    assert re.search(rf"^best: epoch {history.best}, .* validation certified {max(certified):.4g}, seconds", best)


def test_a_history_without_validation_part_and_a_long_one():
    empty = ll.training.History("none", nn.Sequential())
    assert empty.best is None
    assert str(empty) == "none: 0 epochs"
    row = {"learning_rate": 1e-3, "loss": 1.0, "clean": 0.5, "seconds": 0.1}
    history = ll.training.History("long", nn.Sequential(), tuple({"epoch": k, **row} for k in range(500)))
    assert str(history).splitlines() == [
        "long: 500 epochs",
        "last: epoch 499, learning rate 0.001, loss 1, clean 0.5, seconds 0.1",
    ]
    with pytest.raises(KeyError):
        history["validation_clean"]


def test_a_callback_ends_the_run_and_sees_a_network_that_bounds_read(digits):
    def enough(history):
        assert ll.local_bound(history.net, digits.x_test[:2], 0.1).value.isfinite().all()
        return len(history) == 2

    history = fit(built(TINY), digits, TINY, callback=enough)
    assert len(history) == 2
    assert same(history.net, fit(built(TINY), digits, TINY, callback=lambda history: len(history) == 2).net)

    def interrupt(history):
        raise KeyboardInterrupt

    net = built(TINY)
    with pytest.raises(KeyboardInterrupt):
        fit(net, digits, TINY, callback=interrupt)
    assert not net.training


def test_half_precision_stays_off(digits):
    with torch.autocast("cpu"):
        net = fit(built(replace(TINY, dtype=torch.float32)), digits, replace(TINY, dtype=torch.float32)).net
    assert same(net, fit(built(replace(TINY, dtype=torch.float32)), digits, replace(TINY, dtype=torch.float32)).net)


def test_what_is_refused(digits):
    for device in ("gpu", "cuda:99", "meta:x"):
        with pytest.raises(ll.InvalidInput, match="doctor"):
            fit(built(TINY), digits, TINY, device=device)
    for seed in (True, "0", 1.0):
        with pytest.raises(ll.InvalidInput, match="seed=0"):
            fit(built(TINY), digits, TINY, seed=seed)
    with pytest.raises(ll.InvalidInput, match="1 to 499"):
        fit(built(TINY), digits, replace(TINY, hold_out=500))
    with pytest.raises(ll.InvalidInput, match="second call"):
        fit(built(TINY), digits.hold_out(10), replace(TINY, hold_out=10))


class Spoiling:
    """An objective whose gradient is NaN at one call, while the loss is finite."""

    def __init__(self, call, then=ll.training.Clean()):  # noqa: B008
        self.call, self.then, self.calls = call, then, 0

    def __call__(self, net, x, y, progress, norm):
        self.calls += 1
        loss = self.then(net, x, y, progress, norm)
        return loss + (0 * net[2].weight[0, 0]).sqrt() if self.calls == self.call else loss


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"x_train": torch.nan}, r"loss of tiny is nan in epoch 0, step 0: the points themselves"),
        (
            {"weights": (0, torch.inf)},
            r"loss of tiny is nan in epoch 0, step 0: .* the 0?.*weight of layer 0 \(Linear\)",
        ),
        ({"weights": (2, 1e308)}, r"step 0: the first that is not finite is the output of layer 2 \(Linear\)"),
        ({"calls": 2}, r"loss of tiny is nan in epoch 0, step 2: .* the weight of layer 2"),
        ({"calls": 4}, r"a weight of tiny is not finite in epoch 0, step 3: .* the weight of layer 2"),
        ({"calls": 14}, r"a weight of tiny is not finite in epoch 3, step 2: .* the weight of layer 2"),
    ],
)
def test_what_is_not_finite_stops_the_run_and_is_named(digits, tmp_path, spoil, message):
    recipe, net, data = TINY, built(TINY), digits
    if "x_train" in spoil:
        data = replace(digits, x_train=digits.x_train * spoil["x_train"])
    if "weights" in spoil:
        index, value = spoil["weights"]
        net[index].weight.data.fill_(value)
        recipe = replace(TINY, objective=ll.training.Clean())
    if "calls" in spoil:
        then = ll.training.Clean() if spoil["calls"] < 10 else TINY.objective
        recipe = replace(TINY, objective=Spoiling(spoil["calls"], then))
    with pytest.raises(FloatingPointError, match=message) as error:
        fit(net, data, recipe, checkpoint=tmp_path / "run")
    assert re.search(
        r"largest finite norm is [\d.e+]+, of the weight of layer \d|no weight is finite", str(error.value)
    )
    assert not net.training
    done = 3 if spoil.get("calls") == 14 else 0
    assert (tmp_path / "run").exists() == bool(done)
