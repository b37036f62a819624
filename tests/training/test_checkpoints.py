"""A run that is resumed is the whole run, from what a checkpoint keeps of it."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from short_runs import RECIPE, built, moons, same, without_seconds
from torch import nn

import lliptools as ll
from lliptools.training import checkpoints, fit


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("kind", ["exact norms", "estimated norms", "dropout"])
def test_a_run_in_pieces_is_the_whole_run_bit_by_bit(tmp_path, seed, kind):
    recipe = replace(RECIPE, norm_steps=2 if kind == "estimated norms" else None)
    if kind == "dropout":  # draws from torch's random numbers in every step
        layers = partial(nn.Sequential, nn.Linear(2, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
        recipe = replace(RECIPE, objective=ll.training.Clean(), network=layers)
    start = {name: value.clone() for name, value in built(recipe).state_dict().items()}

    def run(**options):
        net = built(recipe)
        net.load_state_dict(start)
        torch.manual_seed(0)
        return fit(net, moons(), recipe, seed=seed, **options)

    whole, then = run(), torch.rand(1)
    for stop in (1, 2, 5):
        assert len(run(checkpoint=tmp_path, callback=lambda history, stop=stop: len(history) == stop)) == stop
    resumed = run(checkpoint=tmp_path)
    assert torch.equal(torch.rand(1), then) or seed is not None
    assert same(resumed, whole)
    assert without_seconds(resumed) == without_seconds(whole)
    again = run(checkpoint=tmp_path)  # nothing is left to do
    assert again.epochs == resumed.epochs
    assert same(again, whole)


def test_files_of_others_stay(tmp_path):
    (tmp_path / "moons.safetensors").write_bytes(b"mine")
    for epoch in range(2):
        checkpoints.write(tmp_path, {}, {}, {"w": torch.full((1,), epoch)})
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".safetensors", ".safetensors"]
    checkpoints.remove(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"moons.safetensors"}
    assert (tmp_path / "moons.safetensors").read_bytes() == b"mine"
    checkpoints.write(tmp_path / "own", {}, {}, {"w": torch.zeros(1)})
    checkpoints.remove(tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_digest_is_of_numbers_types_and_shapes():
    x = torch.arange(6.0)
    different = [
        *((x,), (x.double(),), (x.view(2, 3),), (x, None), (None, x), (x[:3], x[3:]), (x.flip(0),), (), (x[:0],)),
        *((x.bfloat16(),), (x.to(torch.uint8),), (x > 2,), (-x,)),
    ]
    assert len({checkpoints.digest(*each) for each in different}) == len(different)
    assert checkpoints.digest(x.view(2, 3).T) == checkpoints.digest(x.view(2, 3).T.contiguous())


def test_every_recipe_is_described_by_its_settings():
    for name, recipe in ll.training.RECIPES.items():
        found = checkpoints.described(recipe)
        assert found["name"] == name
        assert json.loads(json.dumps(found)) == found
        assert " at 0x" not in json.dumps(found)
    found = checkpoints.described(ll.training.recipe("sll-small"))
    assert found["augment"] == "lliptools.training.batches.crop_and_flip"
    assert found["network"]["function"] == "lliptools.layers.networks.sll_network"
    assert found["network"]["arguments"] == ["small"]
    assert found["schedule"] == "lliptools.training.recipes.triangle"
    assert checkpoints.described(ll.training.recipe("mnist-4c3f"))["schedule"]["keywords"]["end"] == 5e-6
    assert checkpoints.described({"a": (torch.device("cpu"), nn.Identity())}) == {
        "a": ["cpu", "torch.nn.modules.linear.Identity"]
    }


def test_whatever_else_learns_is_kept():
    class Remembering:
        def __init__(self, value):
            self.value = value

        def state_dict(self):
            return {"layer.0": torch.tensor([self.value])}

        def load_state_dict(self, state_dict):
            self.value = state_dict["layer.0"].item()

    net, memory = nn.Linear(2, 2), Remembering(3.0)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = (optimizer, torch.Generator().manual_seed(4), torch.device("cpu"))
    tensors = checkpoints.packed({"weights": net, "norm": memory}, *state)
    other, forgetful = nn.Linear(2, 2), Remembering(0.0)
    fresh = (torch.optim.AdamW(other.parameters()), torch.Generator(), torch.device("cpu"))
    checkpoints.unpack(tensors, {"weights": other, "norm": forgetful}, *fresh)
    assert forgetful.value == 3.0
    assert torch.equal(other.weight, net.weight)
    again = checkpoints.packed({"weights": other, "norm": forgetful}, *fresh)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
