"""What a process is set to changes no number and no certificate, or it is refused."""

import ctypes
import ctypes.util
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
import torch
from networks import NETWORKS, points, random_net
from torch import nn

import lliptools as ll
from lliptools.nets.checks import check_process


@contextmanager
def setting(change, before):
    """Something changed for a while."""
    change(True)
    try:
        yield
    finally:
        before()


def default_dtype(dtype):
    return lambda: setting(lambda _: torch.set_default_dtype(dtype), lambda: torch.set_default_dtype(torch.float32))


def tf32():
    matmul = torch.backends.cuda.matmul
    return setting(lambda on: setattr(matmul, "allow_tf32", on), lambda: setattr(matmul, "allow_tf32", False))


FLAGS = {
    "TF32": tf32,
    "matmul in medium precision": lambda: setting(
        lambda _: torch.set_float32_matmul_precision("medium"), lambda: torch.set_float32_matmul_precision("highest")
    ),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": lambda: setting(
        torch.use_deterministic_algorithms, lambda: torch.use_deterministic_algorithms(False)
    ),
    "default float16": default_dtype(torch.float16),
    "default bfloat16": default_dtype(torch.bfloat16),
    "default float64": default_dtype(torch.float64),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "another default device": lambda: torch.device("meta"),
}


def images():
    torch.manual_seed(0)
    layers = [ll.layers.SLLConv2d(1, 3), ll.layers.AOLConv2d(1, 2), ll.layers.CayleyConv2d(2, 2, 1), nn.Flatten()]
    return random_net(nn.Unflatten(1, (1, 3, 1)), *layers, nn.Linear(6, 3))


NAMES = ("float32", "convolutional", "residual", "pooled")
BUILT = {**{name: NETWORKS[name] for name in NAMES}, "designed, images": images}


def everything(net, x, y):
    """Numbers and certificates of one network."""
    for name in ll.BOUNDS:
        try:
            yield name, ll.BOUNDS[name](net, x, 0.1).value
        except (ll.InvalidInput, ll.UnsupportedLayer):  # the exact bound knows piecewise linear chains only
            assert name == "exact"
        if name not in ("sampled", "exact"):
            yield f"{name} certificate", ll.certify(net, x, y, 0.05, bound=ll.BOUNDS[name]).worst_margin
    yield "radius", ll.certified_radius(net, x, y, tolerance=1e-2)
    yield "stages", ll.certify_in_stages(net, x, y, 0.05).holds
    yield "shells", ll.certify(net, x, y, 0.3, shells=2, quadratic=True).worst_margin
    yield "centred sample", ll.bounds.sampled_bound(net, x, 0.1, samples=8, steps=2, centred=True).value
    with suppress(ll.UnsupportedLayer):  # of windows
        yield "linear", ll.linear_margins(net, x, y, 1.0, steps=3)
        yield "quadratic", ll.certify(net, x, y, 0.5, linear=True, quadratic=True).worst_margin
    yield "attack", ll.attacks.pgd(net, x, y, 0.1, steps=5)


@pytest.fixture(scope="module")
def known():
    """Networks, points and numbers, of a process in which nothing is set."""
    found = {}
    for name, build in BUILT.items():
        torch.manual_seed(0)
        net = build().eval()
        x = points(net, 3)
        y = net(x).argmax(dim=1).detach()
        found[name] = (net, x, y, dict(everything(net, x, y)))
    return found


WHOLE = ("float32", "designed, images")  # under every flag, the others under those that change arithmetic most
PAIRS = [(name, flag) for name in BUILT for flag in FLAGS if name in WHOLE or flag in ("autocast", "default float16")]


@pytest.mark.parametrize(("name", "flag"), PAIRS)
@pytest.mark.slow
def test_a_flag_changes_no_number(known, name, flag):
    net, x, y, wanted = known[name]
    with FLAGS[flag]():
        for what, number in everything(net, x, y):
            torch.testing.assert_close(number, wanted[what], rtol=0, atol=0, msg=f"{what}: {{}}".format)


@pytest.mark.slow
def test_two_threads_change_no_number(known):
    net, x, _, wanted = known["float32"]
    with setting(lambda _: torch.set_num_threads(2), lambda: torch.set_num_threads(1)):
        torch.testing.assert_close(ll.local_bound(net, x, 0.1).value, wanted["local"], rtol=1e-12, atol=0)


def test_norms_under_another_default_device():
    weight = torch.linspace(-1, 1, 100 * 100, dtype=torch.float64).sin().view(100, 100)
    kernel = weight[:4, :18].reshape(4, 2, 3, 3)
    wanted = ll.layers.matrix_norm(weight), ll.layers.kernel_norm(kernel, (1, 1))
    with torch.device("meta"):
        assert (ll.layers.matrix_norm(weight), ll.layers.kernel_norm(kernel, (1, 1))) == wanted


FLUSHED = """
import torch, lliptools as ll
from torch import nn
net = nn.Sequential(nn.Linear(1, 2)).double()
net[0].weight.data = torch.tensor([[-1e300], [0.0]]).double()
net[0].weight.data[0] = torch.tensor(-1e300, dtype=torch.float64)
net[0].bias.data = torch.tensor([1e-11, 0.0], dtype=torch.float64)
x, y = torch.zeros(1, 1).double(), torch.tensor([0])
assert not ll.certify(net, x, y, 1e-310).holds
assert net(x + 1e-310).argmax() == 1
torch.set_flush_denormal(True)
{}
try:
    print(ll.certify(net, x, y, 1e-310).holds.item())
except ll.InvalidInput as refused:
    print(refused)
"""
WORKERS = """
torch.set_num_threads(2)
torch.ones(10**6).exp()  # starts a thread, which keeps the setting
torch.set_flush_denormal(False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("then", ["", WORKERS], ids=["this thread", "a thread that was started under it"])
def test_numbers_next_to_0_that_are_flushed(then):
    code = FLUSHED.format(then)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch.set_flush_denormal(True)" in done.stdout


def test_another_rounding_mode():
    name = ctypes.util.find_library("m")
    if name is None or not sys.platform.startswith("linux"):
        pytest.skip("the modes' numbers differ from system to system")
    library, nearest = ctypes.CDLL(name), ctypes.CDLL(name).fegetround()
    for mode in (0x400, 0x800, 0xC00):  # of x86; elsewhere they are refused
        try:
            if library.fesetround(mode) != 0:
                pytest.skip("a processor with other numbers for its modes")
            with pytest.raises(ll.InvalidInput, match="nearest"):
                check_process()
        finally:
            library.fesetround(nearest)
    check_process()
