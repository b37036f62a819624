"""The run that is prepared for a GPU, rehearsed on the CPU, and the images that it takes along."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from forked import alone

import lliptools as ll

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def part():
    sys.path.append(str(BENCHMARKS))
    return lambda name: import_module(f"gpu_parts.{name}")


@pytest.mark.slow
def test_every_part_runs_in_little(part, tmp_path):
    done = alone(BENCHMARKS / "gpu.py", "--toy", "--out", tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {*found} == {"device", "machine", "toy", "kernels", "steps", "epoch", "training", "certificates"}
    assert [row["loss"] for row in found["steps"]["rows"] if row["way"] == "eager"] == [
        "forward pass",
        *part("size").LOSSES,
    ]
    assert [run["points"] for run in found["training"]["rows"]] == [8, 8, 8]
    page = part("page").page(found)
    assert "Not yet run on a GPU" in page
    assert "Failed" not in page
    assert "Left out" not in page


def test_what_failed_and_what_was_cut_off_is_said(part):
    kernels = {name: {"forward": 1, "backward": 1, "together": 2, "looks": 0} for name in part("size").LOSSES}
    found = {"device": "a card", "machine": "torch", "toy": False, "kernels": kernels}
    found |= {"steps": {"failed": "RuntimeError: too large"}, "certificates": {"left out": "no network was trained"}}
    page = part("page").page(found)
    assert "RuntimeError: too large" in page
    assert "Left out: no network was trained" in page
    assert page.count("Not reached.") == 2


def test_a_step_looks_at_no_value_and_launches_no_more_than_it_did(part):
    found = part("kernels").kernels()
    assert all(row["looks"] == 0 for row in found.values())
    together = {name: row["together"] for name, row in found.items()}
    assert together["local"] <= 1.2 * together["global"]
    assert together["local"] < 1500
    assert together["local + sparsity"] < 2100


def test_packed_images_come_out_again(part, tmp_path, monkeypatch):
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    data = ll.training.Split(images[:2], torch.tensor([3, 9]), images[2:], torch.tensor([4]))
    monkeypatch.setattr(ll.training, "cifar10", lambda: data)
    part("images").pack(tmp_path / "data" / "images.npz")
    found = part("images").unpacked(tmp_path / "data" / "images.npz")
    for part in ("train", "test"):
        assert all(map(torch.equal, found.stored(part), data.stored(part)))
