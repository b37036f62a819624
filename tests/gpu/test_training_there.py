"""Training is the same on every device, up to rounding, and does not make a GPU wait inside of a step."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from second_device import SECOND, second_device

import lliptools as ll
from lliptools.training import LMT, Certified, Clean, GloRo, Offset, Recipe, SharedNorm, Split, batches, crop_and_flip

pytestmark = pytest.mark.slow

OBJECTIVES = (
    *(Clean(), Offset(0.2), Certified(0.1, bound="global"), Certified(0.1), Certified(0.1, sparsity=1.0)),
    *(GloRo(0.1, bound="global"), GloRo(0.1), GloRo(0.1, sparsity=1.0), LMT(0.1), LMT(0.1, bound="local")),
)
NETWORKS = {
    "dense": partial(ll.nets.mlp, 192, 24, 16, 10, activation="clipped_relu", theta=0.3, flatten=True),
    "convolutions": partial(ll.nets.cnn, "2C1F", (3, 8, 8), activation="clipped_relu", theta=0.3),
    "pairs": partial(ll.nets.cnn, "2C1F", (3, 8, 8), activation="clipped_maxmin", theta=0.3),
}


def points(count=12):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 8, 8, generator=generator), torch.randint(10, (count,), generator=generator)


def stepped(net, objective, x, y, steps=2):
    """The loss and the gradients of a step, after others at the same weights, from which the norms' vectors come."""
    norm = SharedNorm(2)
    for _ in range(steps):
        net.zero_grad()
        loss = objective(net, x, y, 0.75, norm)
        loss.backward()
    return loss.detach(), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


# Every objective on one network, and the longest of them on the others.
STEPS = [
    pytest.param(name, objective, id=f"{name}-{objective}")
    for name in NETWORKS
    for objective in (OBJECTIVES if name == "convolutions" else OBJECTIVES[4:5])
]


@pytest.mark.parametrize(("name", "objective"), STEPS)
def test_a_step(device, name, objective):
    net, (x, y) = NETWORKS[name](), points()
    there = deepcopy(net).to(device)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        loss, gradients = stepped(net, objective, x, y)
        found, gradients_there = stepped(there, objective, x.to(device), y.to(device))
    assert found.device.type == device.type
    torch.testing.assert_close(found.cpu(), loss, rtol=1e-4, atol=1e-6)
    assert gradients.keys() == gradients_there.keys()
    for which, gradient in gradients.items():
        assert (gradients_there[which].cpu() - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, which


@pytest.mark.parametrize(("name", "objective"), STEPS)
def test_nothing_in_a_step_waits(name, objective):
    """Not once the vectors of the norms are there: so a step can be captured as a CUDA graph."""
    net, (x, y), norm = NETWORKS[name](), points(), SharedNorm(2)
    objective(net, x, y, 0.75, norm)
    norm.load_state_dict(norm.state_dict())  # as after a run was resumed: on the CPU
    with second_device() as waits:
        net, x, y = net.to(SECOND), x.to(SECOND), y.to(SECOND)
        optimizer = torch.optim.Adam(net.parameters())
        for _ in range(2):
            waits.clear()
            loss = objective(net, x, y, 0.75, norm)
            optimizer.zero_grad()
            loss.backward()
    assert not waits.looks
    assert not waits.copies


def test_vectors_of_norms_stay_where_they_are():
    """A captured graph writes to the memory that it was captured with."""
    net, (x, y), norm = NETWORKS["convolutions"](), points(), SharedNorm(2)
    Certified(0.1)(net, x, y, 1.0, norm)
    vectors, before = dict(norm.vectors), norm.state_dict()
    Certified(0.1)(net, x, y, 1.0, norm)
    assert all(norm.vectors[place] is vector for place, vector in vectors.items())
    assert not any(torch.equal(vector, before[place]) for place, vector in norm.state_dict().items())


def test_batches_stay_on_their_device():
    x, y = points()
    with second_device() as waits:
        x, y = (x * 255).to(torch.uint8).to(SECOND), y.to(SECOND)
        waits.clear()
        found = list(batches(x, y, 4, augment=crop_and_flip))
        assert {part.device for pair in found for part in pair} == {SECOND}
        assert waits.copies.total() <= 1  # the order, once an epoch


RECIPE = Recipe(
    "short",
    *(points, NETWORKS["convolutions"], Certified(0.1, sparsity=0.1, ramp=0.5)),
    epochs=4,
    batch_size=8,
    norm_steps=2,
)


def split(device="cpu"):
    (x, y), (x_test, y_test) = points(24), points(6)
    return Split(x.double(), y, x_test.double(), y_test).to(device)


def trained(device, *, recipe=RECIPE, **settings):
    torch.manual_seed(0)
    net = recipe.network().to(recipe.dtype).to(device)
    return ll.training.fit(net, split(), recipe, seed=3, **settings)


def weights(history):
    return torch.cat([value.flatten().cpu() for value in history.net.state_dict().values()])


def test_a_run_in_float64(device):
    here, there = trained("cpu"), trained(device)
    assert next(there.net.parameters()).device.type == device.type
    torch.testing.assert_close(there["loss"], here["loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(weights(there), weights(here), rtol=0, atol=1e-6)


@pytest.mark.parametrize("to_the_device", [True, False])
def test_a_run_goes_on_on_the_other_device(device, tmp_path, to_the_device):
    first, second = ("cpu", device) if to_the_device else (device, "cpu")
    half = trained(first, checkpoint=tmp_path / "run", callback=lambda history: len(history) == 2)
    assert len(half) == 2
    whole = trained(second, checkpoint=tmp_path / "run")
    assert len(whole) == 4
    torch.testing.assert_close(weights(whole), weights(trained("cpu")), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["dense", "convolutions"])
def test_two_runs_with_the_same_seed(device, name):
    recipe = replace(RECIPE, network=NETWORKS[name], dtype=torch.float32)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
        one, other = trained(device, recipe=recipe), trained(device, recipe=recipe)
    assert torch.equal(weights(one), weights(other))
    assert one["loss"] == other["loss"]
