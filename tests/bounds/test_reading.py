"""What is bounded is what the network computes: in-place layers, attributes changed after they were built, and more."""

import copy

import pytest
import torch
from networks import random_net
from torch import nn

import lliptools as ll
from lliptools.nets import network

Y = torch.tensor([0])


def lin(w, b=None):
    weight = torch.tensor(w, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=b is not None).double()
    layer.weight.data = weight
    if b is not None:
        layer.bias.data = torch.tensor(b, dtype=torch.float64)
    return layer


EYE, ZERO = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]
LAST = ([[-1.0, 0.0], [0.0, 0.0]], [0.0, 1.0])


def writes_over(*inner):
    """x + block(x) at (−5, 0): read as x it is −5, computed by a block that writes over x it is 0."""
    return nn.Sequential(lin(EYE), ll.nets.Residual(nn.Sequential(*inner, lin(ZERO))), lin(*LAST))


IN_PLACE = {
    "first": writes_over(nn.ReLU(inplace=True)),
    "behind views": writes_over(nn.Unflatten(1, (1, 2)), nn.Flatten(), nn.ReLU(inplace=True)),
    "behind what does nothing": writes_over(nn.Identity(), nn.Dropout(0.5), nn.Hardtanh(0, 9, inplace=True)).eval(),
    "in a Sequential": writes_over(nn.Sequential(nn.Sequential(nn.Flatten()), nn.LeakyReLU(0.0, inplace=True))),
    "in a block inside": writes_over(ll.nets.Residual(nn.Sequential(nn.ELU(inplace=True), lin(ZERO)))),
    "twice": writes_over(nn.ReLU6(inplace=True), nn.ReLU(inplace=True)),
}
RUNGS = [bound for name, bound in ll.BOUNDS.items() if name != "sampled"]


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_block_that_writes_over_its_input_is_refused_by_name(name):
    net, x = IN_PLACE[name], torch.tensor([[-5.0, 0.0]], dtype=torch.float64)
    assert net(x.clone()).argmax() == 1  # the case: it answers class 1, and read without care it would be class 0
    for claim in (*RUNGS, ll.bounds.sampled_bound):
        with pytest.raises(ll.UnsupportedLayer, match=r"layer 1 \(Residual\)"):
            claim(net, x, 1.0)
    with pytest.raises(ll.UnsupportedLayer, match="inplace=True"):
        ll.certify(net, x, Y, 4.0)


def test_in_place_where_nothing_else_reads_is_what_it_is_elsewhere():
    torch.manual_seed(0)
    layers = [nn.Linear(2, 5), nn.ReLU(), ll.nets.Residual(nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5)))]
    net = nn.Sequential(nn.ReLU(), *layers, nn.ReLU(), nn.Linear(5, 3)).double()
    same = copy.deepcopy(net)
    for module in same.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    x = torch.randn(4, 2, dtype=torch.float64)
    kept = x.clone()
    assert torch.equal(ll.local_bound(net, x, 0.3).value, ll.local_bound(same, x, 0.3).value)
    assert torch.equal(x, kept)


class Overwriting(ll.nets.Monotone):
    """relu, by an author who saves memory."""

    def forward(self, z):
        return z.relu_()

    def slopes(self, lower, upper):
        return (lower > 0).to(lower), (upper > 0).to(lower)


def test_an_own_layer_that_writes_over_its_input_is_refused():
    net = nn.Sequential(lin(EYE), ll.nets.Residual(nn.Sequential(Overwriting(), lin(ZERO))), lin(*LAST))
    with pytest.raises(ll.InvalidInput, match="leaves z as it is"):
        ll.certify(net, torch.tensor([[-5.0, 0.0]], dtype=torch.float64), Y, 4.0)


class Writer(nn.Module):
    """Reads one tensor twice, the second time after it was written over."""

    def forward(self, x):
        h = x * 1.0
        return h + torch.relu_(h.view(-1, 2)).view(-1, 2)


def test_a_program_is_read_as_what_it_computes():
    module, x = Writer(), torch.randn(3, 2, dtype=torch.float64)
    try:
        net = ll.nets.read_program(torch.export.export(module, (x,)))
    except ll.UnsupportedLayer:
        return
    assert torch.equal(net(x), module(x))


def changed(layer, **attributes):
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


def swapped(layer, *size):
    layer.weight = nn.Parameter(torch.ones(*size, dtype=torch.float64))
    return layer


CHANGED = {
    "ReLU6.max_val": lambda: changed(nn.ReLU6(), max_val=9.0),
    "ReLU6.min_val": lambda: changed(nn.ReLU6(), min_val=-2.0),
    "Hardtanh.max_val": lambda: changed(nn.Hardtanh(), max_val=3.0),
    "LeakyReLU.negative_slope": lambda: changed(nn.LeakyReLU(), negative_slope=0.9),
    "ELU.alpha": lambda: changed(nn.ELU(), alpha=0.2),
    "CircularPad2d.padding": lambda: changed(nn.CircularPad2d(1), padding=(0, 1, 0, 1)),
    "circular padding": lambda: changed(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), padding=(0, 0)),
    "stride": lambda: changed(nn.Conv2d(1, 2, 3), stride=(2, 2)),
    "kernel_size": lambda: changed(nn.Conv2d(1, 2, 3), kernel_size=(2, 2)),
    "5×5 in padding=same": lambda: swapped(nn.Conv2d(1, 2, 3, padding="same", bias=False), 2, 1, 5, 5),
    "5×5 in circular same": lambda: swapped(
        nn.Conv2d(1, 2, 3, padding="same", padding_mode="circular", bias=False), 2, 1, 5, 5
    ),
    "output_padding": lambda: changed(nn.ConvTranspose2d(1, 2, 3, stride=2), output_padding=(1, 1)),
    "transposed kernel": lambda: swapped(nn.ConvTranspose2d(1, 2, 3, stride=2, bias=False), 1, 2, 4, 4),
    "AvgPool2d.stride": lambda: changed(nn.AvgPool2d(2), stride=None),
    "AvgPool2d.divisor_override": lambda: changed(nn.AvgPool2d(2), divisor_override=3),
    "PixelUnshuffle": lambda: changed(nn.PixelUnshuffle(2), downscale_factor=4),
    "BatchNorm2d.eps": lambda: changed(nn.BatchNorm2d(1), eps=0.5),
    "in_channels": lambda: changed(nn.Conv2d(1, 2, 3), in_channels=5),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_was_changed_after_it_was_built_is_read_as_it_computes(name):
    torch.manual_seed(3)
    first = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), CHANGED[name](), nn.Flatten()).double().eval()
    x = 5 * torch.randn(6, 16, dtype=torch.float64)
    net = nn.Sequential(*first, nn.Linear(first(x).shape[1], 3)).double().eval()
    blocks = ll.bounds.reading.read(net, x)
    torch.testing.assert_close(ll.nets.forward(blocks, x), net(x), rtol=1e-12, atol=1e-12)
    sampled = ll.sampled_bound(net, x, 0.5, samples=32, steps=4).value
    assert (sampled <= ll.local_bound(net, x, 0.5).value * (1 + 1e-9)).all()


def test_a_class_that_was_patched_is_found(monkeypatch):
    net, x = random_net(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(2, 3, dtype=torch.float64)
    ll.local_bound(net, x, 0.1)
    monkeypatch.setattr(nn.Tanh, "forward", lambda self, z: 2 * z.tanh())
    with pytest.raises(ll.UnsupportedLayer, match=r"layer 1 \(Tanh\)"):
        ll.local_bound(net, x, 0.1)


def test_one_output_that_differs_is_found(monkeypatch):
    net, x = random_net(nn.Linear(3, 4), nn.Tanh()), torch.randn(2, 3, dtype=torch.float64)
    monkeypatch.setattr(nn.Tanh, "forward", lambda self, z: torch.cat([z[:, :-1].tanh(), 2 * z[:, -1:].tanh()], dim=1))
    with pytest.raises(ll.UnsupportedLayer, match=r"layer 1 \(Tanh\)"):
        ll.local_bound(net, x, 0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_net_of_any_precision_is_compared_by_its_float64_numbers(dtype):
    net = random_net(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), ll.nets.ClippedReLU(0.3), nn.Linear(8, 4)).to(dtype)
    x = torch.randn(2, 3).to(dtype)
    assert ll.local_bound(net, x, 0.1).value.isfinite().all()


@pytest.mark.parametrize("size", [1e-140, 1e-30, 1e30, 1e140])
def test_extreme_numbers_are_not_taken_for_differences(size):
    net = random_net(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 4))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.mul_(size)
    ll.bounds.reading.read(net, torch.randn(5, 3, dtype=torch.float64))


def test_outputs_that_nearly_cancel_are_not_taken_for_differences():
    w = torch.randn(1, 50, dtype=torch.float64)
    first, second = nn.Linear(50, 50).double(), nn.Linear(50, 2).double()
    second.weight.data = torch.cat([w, w])
    net = nn.Sequential(first, nn.Linear(50, 50).double(), second, lin([[1e9, -1e9], [0.0, 0.0]]))
    ll.bounds.reading.read(net, torch.randn(5, 50, dtype=torch.float64))


def test_a_network_that_cannot_be_called_is_refused():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    net[0].bias = nn.Parameter(torch.zeros(3, device="meta"))
    with pytest.raises(ll.InvalidInput, match="meta"):
        ll.local_bound(net, torch.zeros(1, 2), 0.1)
    with pytest.raises(ll.InvalidInput, match="meta"):
        ll.local_bound(nn.Sequential(nn.Linear(2, 2)).to("meta"), torch.zeros(1, 2), 0.1)


@pytest.mark.parametrize("padding", [(-1, -1, -1, -1), (-1, 2, 0, -1), (1, -2, 3, 0)])
def test_zero_padding_below_zero_cuts_off(padding):
    net = random_net(nn.Unflatten(1, (2, 5, 5)), nn.ZeroPad2d(padding), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten())
    x = torch.randn(3, 50, dtype=torch.float64)
    (block, *_), shape = ll.bounds.reading.read(net, x), (7, 2, 5, 5)
    back = torch.randn(7, *block.linear.out_shape, dtype=torch.float64)
    forth = torch.randn(shape, dtype=torch.float64)
    one = (block.linear.linear(forth.flatten(1)) * back).sum()
    other = (forth.flatten(1) * block.linear.adjoint(back).flatten(1)).sum()
    torch.testing.assert_close(one, other)
    bound = ll.local_bound(net, x, 0.2)
    assert (ll.sampled_bound(net, x, 0.2, samples=16, steps=2).value <= bound.value).all()


def test_padding_that_has_no_rule_is_refused_by_name():
    for layer in (
        nn.ConvTranspose2d(1, 1, 2, stride=2, output_padding=2),
        nn.ZeroPad2d(-2),
        changed(nn.ZeroPad2d(1), value=2.0),
    ):
        net = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), layer, nn.Flatten())
        with pytest.raises((ll.InvalidInput, ll.UnsupportedLayer), match="layer 1"):
            ll.local_bound(net, torch.zeros(1, 16), 0.1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int64, torch.bool])
def test_pixels_as_integers_are_refused_with_the_division_to_write(dtype):
    with pytest.raises(ll.InvalidInput, match=r"\.double\(\) / 255"):
        ll.local_bound(nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 2).to(dtype), 0.1)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64])
def test_other_numbers_are_refused(dtype):
    with pytest.raises(ll.InvalidInput):
        ll.local_bound(nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 2).to(dtype), 0.1)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.first(x).relu())


@pytest.mark.parametrize("function", [ll.certify, ll.certified_radius, ll.certify_in_stages])
def test_one_question_reads_a_network_once(function, monkeypatch):
    net, x, read, seen = Own(), torch.rand(4, 3), network.read_module, []
    monkeypatch.setattr(network, "read_module", lambda *given: seen.append(1) or read(*given))
    y, radius = net(x).argmax(1), [] if function is ll.certified_radius else [0.1]
    function(net, x, y, *radius)
    assert len(seen) == 1
    with torch.no_grad():
        net.last.weight.mul_(3)
    function(net, x, net(x).argmax(1), *radius)
    assert len(seen) == 2  # nothing is kept between two questions


def test_a_network_that_changes_under_a_question_is_refused():
    net, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(4, 3)

    def bound(net, x, eps):
        net[0].weight.data.mul_(1.5)
        return ll.local_bound(net, x, eps)

    with pytest.raises(ll.UnsupportedLayer, match="differs from what was read"):
        ll.certify(net, x, net(x).argmax(1), 0.1, bound=bound)
