"""A device without float64 trains; its networks are certified on the CPU, with the same numbers as there."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from second_device import SECOND, second_device

import lliptools as ll
from lliptools.teach import doctor
from lliptools.training.distributed import as_device

pytestmark = pytest.mark.slow


@pytest.fixture
def without_float64(monkeypatch):
    monkeypatch.setattr("lliptools.nets.checks.NO_FLOAT64", (SECOND.type,))
    with second_device():
        yield SECOND


def test_certificates_are_computed_on_the_cpu(without_float64):
    net = ll.nets.mlp(6, 12, 10, 4, activation="clipped_relu", theta=0.3)
    x = torch.randn(5, 6)
    y = net(x).argmax(dim=1)
    there, x_there, y_there = deepcopy(net).to(without_float64), x.to(without_float64), y.to(without_float64)
    sampled = partial(ll.sampled_bound, samples=32, steps=4)
    for bound in (ll.global_bound, ll.local_bound, ll.tightest_bound, sampled):
        found = bound(there, x_there, 0.05).value
        assert found.is_cpu
        assert torch.equal(found, bound(net, x, 0.05).value)
    radii = (ll.certified_radius(*given, tolerance=1e-2) for given in ((there, x_there, y_there), (net, x, y)))
    assert torch.equal(*radii)
    assert torch.equal(ll.certify(there, x_there, y_there, 0.01).holds, ll.certify(net, x, y, 0.01).holds)
    found = ll.certify_in_stages(there, x_there, y_there, 0.01)
    assert torch.equal(found.holds, ll.certify_in_stages(net, x, y, 0.01).holds)
    assert ll.certified_accuracy(there, x_there, y_there, 0.01) == ll.certified_accuracy(net, x, y, 0.01)


def test_the_doctor_says_so(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    found = doctor._device()
    assert "no float64" in found.found
    assert not found.fix


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert as_device("auto") == torch.device("cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    asked = []
    monkeypatch.setattr("torch.empty", lambda *sizes, device: asked.append(device))
    assert as_device("auto") == torch.device("cuda")
    assert asked == [torch.device("cuda")]
