"""The public face, by use; a change here is a change that CHANGELOG.md names."""

import math
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

import lliptools as ll

ROOT = Path(__file__).parents[1]
ROOMS = [
    *("lliptools", "lliptools.nets", "lliptools.bounds", "lliptools.layers", "lliptools.layers.condition"),
    *("lliptools.training", "lliptools.teach", "lliptools.teach.check", "lliptools.checker"),
    *("lliptools.certificates.attacks", "lliptools.certificates.files"),
]
USES = [path for path in Path(__file__).parent.rglob("*.py") if path != Path(__file__)]
USES += [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
WORDS = {*re.findall(r"\w+", "\n".join(path.read_text() for path in USES))}
EPS = 0.1


@pytest.fixture(scope="module")
def points():
    """A network, a batch of inputs and their labels, as a reader has them."""
    digits = ll.training.digits()
    return ll.nets.load("digits-clipped"), digits.x_test[:4], digits.y_test[:4]


@pytest.mark.parametrize("room", ROOMS)
def test_each_name_is_there_says_what_it_is_and_is_used(room):
    for name in import_module(room).__all__:
        found = getattr(import_module(room), name)
        assert not callable(found) or found.__doc__, name
        assert name in WORDS, f"nothing uses {name}"


@pytest.mark.parametrize("name", ["global_bound", "local_bound", "merged_bound", "tightest_bound", "sampled_bound"])
def test_a_bound(points, name):
    net, x, y = points
    bound = getattr(ll, name)(net, x, *([EPS] * (name != "global_bound")))
    assert bound.value.shape == (len(x),)
    assert bound.kind == ("lower" if name == "sampled_bound" else "upper")
    assert isinstance(bound, ll.Bound)
    if bound.kind == "upper":
        assert bound.failure_probability == 0
        assert bound.pairwise(y).shape == (len(x), 10)


def test_linear_margins(points):
    net, x, y = points
    found = ll.linear_margins(net, x, y, EPS)
    assert found.shape == (len(x), 10)
    assert (ll.certify(net, x, y, EPS, linear=True).holds >= (found.gather(1, y[:, None]) < found).sum(1).eq(9)).all()


def test_the_blocks_of_a_bound(points):
    net, x, _ = points
    block = ll.local_bound(net, x, torch.full((4,), EPS)).blocks[0]
    assert (block.box.lower <= block.box.upper).all()
    assert block.slope.shape == block.box.lower.shape
    assert block.norm.shape == block.radius.shape == (4,)


def test_the_theorem_on_one_page():
    net, x = ll.nets.load("moons"), ll.training.moons().x_test[0]
    layers = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    value, masks = ll.paper.local_bound([w.weight for w in layers], [w.bias for w in layers], math.inf, x, EPS)
    torch.testing.assert_close(value, ll.local_bound(net, x[None], EPS).value[0], rtol=1e-9, atol=0, check_dtype=False)
    assert [len(mask) for mask in masks] == [layer.out_features for layer in layers[:-1]]


def test_the_bounds_by_name(points):
    _, x, _ = points
    assert {"global", "local", "merged", "tightest", "exact"} <= {*ll.BOUNDS}
    moons = ll.nets.load("moons")
    assert (ll.exact_bound(moons, x[:1, :2], EPS).value <= ll.BOUNDS["local"](moons, x[:1, :2], EPS).value).all()


def test_certificates(points):
    net, x, y = points
    certificate = ll.certify(net, x, y, EPS, bound=ll.local_bound)
    assert certificate.holds.dtype == torch.bool
    assert certificate.margin.shape == certificate.worst_margin.shape == (4,)
    assert isinstance(certificate.bound, ll.Bound)
    assert (ll.certified_radius(net, x, y, bound=ll.local_bound) >= EPS)[certificate.holds].all()
    table = ll.certified_accuracy(net, x, y, EPS, bound=ll.local_bound)
    assert table.certified <= table.attacked <= table.clean
    assert torch.equal(ll.certify_in_stages(net, x, y, EPS).holds, certificate.holds)


def test_networks(points, tmp_path):
    net, x, _ = points
    assert ll.nets.mlp(64, 128, 10, activation="clipped_relu")(x.float()).shape == (4, 10)
    assert ll.nets.cnn("6C2F", (3, 32, 32))(torch.rand(1, 3, 32, 32)).shape == (1, 10)
    assert ll.nets.ClippedReLU(1.0)(torch.tensor([2.0])) == 1
    assert torch.equal(ll.nets.MaxMin()(torch.tensor([[1.0, 2.0]])).sort().values, torch.tensor([[1.0, 2.0]]))
    assert ll.nets.ClippedMaxMin(1.0, -1.0)(torch.tensor([[3.0, -3.0]])).abs().max() == 1
    path = tmp_path / "net.pt2"
    ll.export(net, (64,), to=str(path))
    torch.testing.assert_close(ll.nets.load(str(path), trust=True)(x), net(x))
    assert ll.spectral_norm(net[0], method="exact").item() > 0


def test_the_version_is_said_once():
    assert "version" in (ROOT / "pyproject.toml").read_text().split("dynamic = ", 1)[1].splitlines()[0]
    lines = [line for path in (ROOT / "lliptools").rglob("*.py") for line in path.read_text().splitlines()]
    assert sum(line.startswith("__version__") for line in lines) == 1
    assert sum(ll.__version__ in line and "==" not in line for line in lines) == 1
