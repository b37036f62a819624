"""Explorers take a network that lies on a GPU, and show of it what they show of the same network on the CPU."""

from copy import deepcopy

import pytest
import torch

import lliptools as ll

pytestmark = pytest.mark.slow

go = pytest.importorskip("plotly.graph_objects")
pytest.importorskip("anywidget")

QUICK = {"NeuronExplorer": {}, "MarginExplorer": {"L": "local"}, "ProductExplorer": {"eps": 0.2}, "ClipExplorer": {}}
SLOW = {"MarginExplorer": {"L": "exact"}, "AccuracyExplorer": {"eps": 0.1}, "LatticeExplorer": {"eps": 0.1}}
SEVERAL = {"ClipExplorer", "AccuracyExplorer"}  # networks by name


def numbers(value):
    """The numbers of a figure, in order; all else as it is."""
    if isinstance(value, dict):
        return [each for key in sorted(value) if key != "uid" for each in numbers(value[key])]
    if isinstance(value, list | tuple):
        return [each for part in value for each in numbers(part)]
    return [value]


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch):
    monkeypatch.setattr("lliptools.teach.explorers.lattice.view.perf_counter", lambda: 0.0)


@pytest.mark.parametrize("name", QUICK)
def test_an_explorer(device, name):
    compare(name, QUICK[name], device)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SLOW)
def test_an_explorer_that_asks_for_more(gpu, name):
    compare(name, SLOW[name], gpu)


def compare(name, keywords, device):
    """The explorer on both devices, number by number."""
    torch.manual_seed(0)
    net = ll.nets.mlp(2, 8, 6, 2, activation="clipped_relu", theta=0.5).double()
    x = torch.rand(5, 2, dtype=torch.float64)
    y, there = net(x).argmax(dim=1), deepcopy(net).to(device)
    figures = []
    for each, points, labels in ((net, x, y), (there, x.to(device), y.to(device))):
        given = ({"a": each, "b": each} if name in SEVERAL else each, points)
        given = given if name == "ProductExplorer" else (*given, labels)
        made = getattr(ll.teach, name)(*given, **keywords)
        figures.append(numbers(go.Figure(made.figure).to_plotly_json()))
    here, found = figures
    assert len(here) == len(found)
    for one, other in zip(here, found, strict=True):
        if isinstance(one, float | int):
            assert other == pytest.approx(one, rel=1e-6, abs=1e-9, nan_ok=True)
        else:
            assert str(other) == str(one)


@pytest.mark.gpu
def test_the_playground(gpu):
    """The same run there, but for rounding."""
    from lliptools.teach.explorers.playground.view import Run, Settings

    runs = [Run(Settings(hidden=(6, 4), points=20, sparsity=0.1), where) for where in (torch.device("cpu"), gpu)]
    for run in runs:
        for _ in range(2):
            run.epoch()
    here, found = (run.epochs[-1] for run in runs)
    assert found.discs.device.type == "cpu"
    assert torch.allclose(found.discs, here.discs, rtol=1e-6)
    assert torch.equal(found.states, here.states)
    assert found.curves == pytest.approx(here.curves, rel=1e-6)
