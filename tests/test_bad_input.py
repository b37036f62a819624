"""Bad input: one clear error, never a number."""

import math

import pytest
import torch
from networks import NETWORKS
from torch import nn

import lliptools as ll

NET = ll.nets.mlp(3, 8, 4)
X = torch.zeros(2, 3)
Y = torch.tensor([0, 1])


def calls(net, x):
    return (
        lambda: ll.local_bound(net, x, 0.1),
        lambda: ll.global_bound(net, x),
        lambda: ll.certify(net, x, Y, 0.1),
        lambda: ll.certified_radius(net, x, Y),
    )


class OwnForward(nn.Sequential):
    def forward(self, x):
        return super().forward(x).exp()


def hooked():
    layer = nn.Linear(3, 4)
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return nn.Sequential(layer)


def hooked_network():
    net = nn.Sequential(nn.Linear(3, 4))
    net.register_forward_pre_hook(lambda module, inputs: 2 * inputs[0])
    return net


def replaced():
    layer = nn.Linear(3, 4)
    layer.forward = lambda h: 2 * h
    return nn.Sequential(layer)


def other_weight():
    layer = nn.Linear(3, 4)
    del layer._parameters["weight"]
    layer.weight = 1j * torch.eye(4, 3)
    return nn.Sequential(layer)


def broken():
    net = ll.nets.mlp(3, 8, 4)
    net[0].weight.data[0, 0] = math.nan
    return net


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (
            nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Hardshrink(), nn.Linear(4, 2)),
            r"layer 3 \(Hardshrink\)",
        ),
        (nn.Sequential(nn.Linear(3, 4), nn.Hardshrink()), r"layer 1 \(Hardshrink\)"),
        (nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.LogSigmoid())), r"layer 1 > 0 \(LogSigmoid\)"),
        (nn.Sequential(nn.Conv3d(1, 2, 3)), r"layer 0 \(Conv3d\)"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(1)), r"layer 1 \(Softmax\).*drop it where it ends the network"),
        (nn.DataParallel(nn.Linear(3, 4)), r"the network \(DataParallel\).*\.module"),
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), r"layer 1 \(LayerNorm\).*1/√eps"),
        (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear")), r"layer 0 \(Upsample\) with mode='bilinear'"),
        (nn.Sequential(nn.BatchNorm1d(3)), r"layer 0 \(BatchNorm1d\) in training mode"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)), r"layer 1 \(Dropout\) in training mode"),
        (nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.AvgPool2d(1, ceil_mode=True)), "ceil_mode=False"),
        (nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(-0.1)), "negative_slope"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(3, 4)), r"layer 0 \(Flatten\) with start_dim=0"),
        (
            OwnForward(nn.Linear(3, 4)),
            r'aten.exp.default as exp in "return super\(\).forward\(x\).exp\(\)" \(line \d+ of test_bad_input.py\) '
            r"in the network \(OwnForward\)",
        ),
        (None, "type NoneType"),
        ("digits", "type str"),
        (hooked(), "forward hook"),
        (hooked_network(), "forward hook"),
        (replaced(), "forward hook"),
        (nn.Sequential(), "without any"),
        (nn.Sequential(nn.Flatten()), "without any"),
    ],
)
def test_unsupported_networks_are_named(net, named):
    for call in calls(net, X):
        with pytest.raises(ll.UnsupportedLayer, match=named) as error:
            call()
        assert any(part in str(error.value) for part in ("docs/supported.md", "averages", "at least one layer"))
        assert "Next step" in str(error.value)


@pytest.mark.parametrize(
    ("net", "x", "said"),
    [
        (NET, torch.zeros(2, 4), "4 features"),
        (NET, torch.zeros(2, 1, 3), "put torch.nn.Flatten"),
        (NET, torch.zeros(3), "batch axis"),
        (NET, torch.zeros(0, 3), r"at least one sample; got shape \(0, 3\)"),
        (NET, torch.zeros(2, 0), "at least one sample"),
        (NET, torch.tensor([[0.0, math.nan, 0.0]]), "1 NaN or infinite"),
        (NET, torch.tensor([[0.0, math.inf, 0.0]]), "1 NaN or infinite"),
        (NET, torch.zeros(2, 3, dtype=torch.uint8), "torch.uint8"),
        (NET, [[0.0, 0.0, 0.0]], "list"),
        (NET, torch.zeros(2, 3, dtype=torch.complex64), "torch.complex64"),
        (NET, torch.zeros(2, 3).to_sparse(), "sparse_coo"),
        (nn.Sequential(nn.Linear(3, 4, dtype=torch.complex64)), X, "real parameters"),
        (other_weight(), X, "real parameters"),
        (broken(), X, r"layer 0 \(Linear\).*`weight`"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)), X, r"layer 1 \(Linear\); got 4 features"),
        (nn.Sequential(nn.Linear(3, 4), ll.nets.ClippedReLU(torch.ones(2, 4))), X, "theta of layer 1"),
        (nn.Sequential(nn.Linear(3, 4), ll.nets.ClippedReLU(math.nan)), X, "NaN"),
    ],
)
def test_bad_points(net, x, said):
    for call in calls(net, x):
        with pytest.raises(ll.InvalidInput, match=said):
            call()


def test_pixels_up_to_255_are_warned_of():
    net, pixels = nn.Sequential(nn.Linear(64, 3)), torch.arange(128.0).view(2, 64)
    for call in calls(net, pixels):
        with pytest.warns(UserWarning, match="up to 255.*x / 255"):
            call()
    for fine in (pixels / 255, pixels.clamp_max(16), -pixels, pixels + 200, pixels + 0.5):
        ll.global_bound(net, fine)


@pytest.mark.parametrize(
    "eps",
    [-1, -1e-300, math.nan, torch.tensor([0.1, -0.1]), torch.zeros(3), None, "wide", 1j, torch.tensor(1j), 10**400],
)
def test_bad_radii(eps):
    for call in (
        lambda: ll.local_bound(NET, X, eps),
        lambda: ll.global_bound(NET, X, eps),
        lambda: ll.certify(NET, X, Y, eps),
    ):
        with pytest.raises(ll.InvalidInput, match="eps"):
            call()


@pytest.mark.parametrize(
    "y",
    [torch.tensor([0, 4]), torch.tensor([-1, 0]), torch.tensor([0]), torch.tensor([0.0, 1.0]), torch.eye(2), [0, 1]],
)
def test_bad_labels(y):
    bound = ll.local_bound(NET, X, 0.1)
    for call in (
        lambda: ll.certify(NET, X, y, 0.1),
        lambda: ll.certified_radius(NET, X, y),
        lambda: ll.certified_accuracy(NET, X, y, 0.1),
        lambda: bound.pairwise(y),
    ):
        with pytest.raises(ll.InvalidInput, match="y as an integer tensor"):
            call()


def test_one_output_has_no_margin():
    net = ll.nets.mlp(3, 8, 1)
    assert ll.local_bound(net, X, 0.1).value.shape == (2,)
    with pytest.raises(ll.InvalidInput, match="two outputs"):
        ll.certify(net, X, torch.zeros(2, dtype=torch.int64), 0.1)


@pytest.mark.parametrize(("sizes", "activation"), [((3,), "relu"), ((3, 0, 2), "relu"), ((3, 2), "gelu")])
def test_bad_architectures(sizes, activation):
    with pytest.raises(ll.InvalidInput):
        ll.nets.mlp(*sizes, activation=activation)


def test_unknown_names():
    with pytest.raises(ll.InvalidInput, match="digits-clipped"):
        ll.nets.load("resnet")
    with pytest.raises(ll.InvalidInput, match="moons"):
        ll.training.recipe("resnet")
    with pytest.raises(AttributeError, match="nothing"):
        ll.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        ll.teach.nothing  # noqa: B018


def test_a_point_on_another_device():
    with pytest.raises(ll.InvalidInput, match="meta"):
        ll.local_bound(NETWORKS["relu"](), torch.zeros(1, 3, device="meta"), 0.1)
