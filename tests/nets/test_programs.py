"""Programs of torch.export are read as the layers that do the same, or refused by name."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

import lliptools as ll
from lliptools.nets import ClippedMaxMin, ClippedReLU, MaxMin, Residual, read_program

F = nn.functional
THETA = torch.tensor([0.5, 0.0, 2.0, 1.0])


class Written(nn.Module):
    """A module whose forward method is a function of the module and its input."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                self.add_module(name, part)
        self.written = forward

    def forward(self, x):
        return self.written(self, x)


def program(forward, shape, *, batch=None, dtype=torch.float32, **parts):
    torch.manual_seed(0)
    for part in parts.values():
        for tensor in part.state_dict().values() if isinstance(part, nn.Module) else ():
            if tensor.is_floating_point():  # also the statistics of a normalisation
                tensor.copy_(torch.rand_like(tensor) - 0.3 * (tensor.dim() > 1))
    module = Written(forward, **parts).eval().to(dtype)
    sizes = None if batch else ({0: Dim("batch")},)
    return export(module, (torch.randn(batch or 2, *shape, dtype=dtype),), dynamic_shapes=sizes)


def names(net):
    return [type(layer).__name__ for layer in net]


READABLE = {
    "own forward": (
        lambda m, x: m.b(F.relu(m.a(x.view(x.shape[0], -1)))), (2, 3), {"a": nn.Linear(6, 4), "b": nn.Linear(4, 3)},
        ["Flatten", "Linear", "ReLU", "Linear"]),
    "image": (
        lambda m, x: m.d(m.c(F.hardtanh(m.b(m.a(x)), 0, 6)).mean((-2, -1))), (2, 9, 8),
        {"a": nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1, groups=2, bias=False), "b": nn.BatchNorm2d(4),
         "c": nn.AvgPool2d(2, padding=1), "d": nn.Linear(4, 3)},
        ["Conv2d", "BatchNorm2d", "Hardtanh", "AvgPool2d", "AdaptiveAvgPool2d", "Flatten", "Linear"]),
    "circular and transposed": (
        lambda m, x: m.b(m.a(x)).mean((2, 3), keepdim=True).reshape(x.shape[0], 3), (2, 6, 6),
        {"a": nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), "b": nn.ConvTranspose2d(3, 3, 2, 2)},
        ["CircularPad2d", "Conv2d", "ConvTranspose2d", "AdaptiveAvgPool2d", "Flatten"]),
    "one axis": (
        lambda m, x: m.b(m.a(x.unflatten(1, (2, 5)))).flatten(1), (10,),
        {"a": nn.Conv1d(2, 2, 3, padding="same", dilation=2), "b": nn.BatchNorm1d(2, affine=False)},
        ["Unflatten", "Conv1d", "BatchNorm1d", "Flatten"]),
    "padding and blocks of pixels": (
        lambda m, x: m.a(F.pixel_unshuffle(F.pad(x, (1, 0, 2, 1)), 2).flatten(1)), (1, 5, 7),
        {"a": nn.Linear(64, 2)}, ["ZeroPad2d", "PixelUnshuffle", "Flatten", "Linear"]),
    "smooth": (
        lambda m, x: F.elu(F.softplus(torch.tanh(torch.sigmoid(F.leaky_relu(m.a(x), 0.2))), 2.0), 0.5), (4,),
        {"a": nn.Linear(4, 4)}, ["Linear", "LeakyReLU", "Sigmoid", "Tanh", "Softplus", "ELU"]),
    "thresholds by clamp": (
        lambda m, x: torch.clamp(m.a(x), torch.zeros(4, dtype=x.dtype), m.theta), (4,),
        {"a": nn.Linear(4, 4), "theta": THETA}, ["Linear", "ClippedReLU"]),
    "thresholds by minimum": (
        lambda m, x: torch.minimum(m.theta, m.a(x).relu()).clamp(0, 0.7), (4,),
        {"a": nn.Linear(4, 4), "theta": THETA[None]}, ["Linear", "ClippedReLU", "Hardtanh"]),
    "from below": (
        lambda m, x: m.a(x).clamp(min=0).clamp_max(1.5).clamp_min(0), (4,),
        {"a": nn.Linear(4, 4)}, ["Linear", "Hardtanh", "ReLU"]),
    "pairs": (
        lambda m, x: pairs(m.a(x)), (4,), {"a": nn.Linear(4, 6)}, ["Linear", "MaxMin"]),
    "clipped pairs": (
        lambda m, x: pairs(m.a(x), high=m.theta[:2], low=-0.1), (4,),
        {"a": nn.Linear(4, 4), "theta": THETA}, ["Linear", "ClippedMaxMin"]),
    "pairs clipped from above": (
        lambda m, x: pairs(m.a(x), high=0.2), (4,), {"a": nn.Linear(4, 4)}, ["Linear", "ClippedMaxMin"]),
    "residual": (
        lambda m, x: m.b(m.a(x).relu()) + x, (4,), {"a": nn.Linear(4, 6), "b": nn.Linear(6, 4)}, ["Residual"]),
    "residual in the middle": (
        lambda m, x: F.dropout(m.a(x) + m.b(m.a(x).relu()), 0.5, False), (4,),
        {"a": nn.Linear(4, 6), "b": nn.Linear(6, 6)}, None),
}  # fmt: skip


def pairs(z, low=None, high=None):
    a, b = z.chunk(2, dim=1)
    larger, smaller = torch.maximum(b, a), torch.minimum(a, b)
    larger = larger if high is None else larger.clamp(max=high)
    return torch.cat([larger, smaller if low is None else smaller.clamp(min=low)], dim=1)


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [name for name, case in READABLE.items() if case[3]])
def test_read_as_layers_that_do_the_same(name, dtype, batch):
    forward, shape, parts, layers = READABLE[name]
    made = program(forward, shape, batch=batch, dtype=dtype, **parts)
    net = read_program(made)
    assert names(net) == layers
    x = torch.randn(batch or 5, *shape, dtype=dtype)
    torch.testing.assert_close(net(x), made.module()(x))
    bound = ll.local_bound(net.double(), x.double(), 0.3)
    lower = ll.sampled_bound(net, x.double(), 0.3, samples=16, steps=2)
    assert (lower.value <= bound.value).all()


def test_a_value_that_is_computed_twice_is_two_values():
    """x ↦ a(x) + b(relu(a(x))), with a called twice: no chain, since nothing says that the two are one."""
    forward, shape, parts, _ = READABLE["residual in the middle"]
    with pytest.raises(ll.UnsupportedLayer, match=r"aten\.add"):
        read_program(program(forward, shape, **parts))


def test_thresholds_and_weights_are_copies():
    made = program(*READABLE["thresholds by clamp"][:2], **READABLE["thresholds by clamp"][2])
    net = read_program(made)
    assert net[1].theta.tolist() == THETA.tolist()
    net[0].weight.data.fill_(7.0)
    assert not (made.state_dict["a.weight"] == 7.0).any()


def test_the_layers_of_this_library_come_back(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 6), ClippedReLU(torch.rand(6)), nn.Linear(6, 6), MaxMin(),
        Residual(nn.Sequential(nn.Linear(6, 6))),
        ClippedMaxMin(torch.rand(3), -0.1), ll.layers.SLLLinear(6, 8), nn.Linear(6, 3), ClippedReLU(0.5),
    ).double()  # fmt: skip
    ll.export(net, (4,), to=tmp_path / "net.pt2")
    again, x = ll.nets.load(tmp_path / "net.pt2"), torch.randn(7, 4).double()
    torch.testing.assert_close(again(x), net(x), rtol=1e-13, atol=1e-13)
    spelled_out = ll.local_bound(ll.layers.export(net), x, 0.2).value
    torch.testing.assert_close(ll.local_bound(again, x, 0.2).value, spelled_out, rtol=1e-3, atol=0)


REFUSED = {
    "gelu": (lambda m, x: F.gelu(m.a(x)), "gelu"),
    "softmax": (lambda m, x: m.a(x).softmax(1), "softmax"),
    "a factor": (lambda m, x: 2 * m.a(x), "mul"),
    "a shift": (lambda m, x: m.a(x) + 1.0, "add"),
    "half a residual": (lambda m, x: torch.add(x, m.a(x), alpha=0.5), "add"),
    "two branches": (lambda m, x: m.a(x).relu() + m.a(x).tanh(), "add"),
    "weights that depend on the input": (lambda m, x: F.linear(x, x[:, :].t() @ x), "t.default|slice|matmul"),
    "a reshaping across samples": (lambda m, x: m.a(x).reshape(1, -1), "reshape|view"),
    "a clamp from another number": (lambda m, x: m.a(x).clamp(0.1), "clamp"),
    "a clamp from above alone": (lambda m, x: m.a(x).clamp(max=1.0), "clamp"),
    "a clamp that is turned around": (lambda m, x: m.a(x).clamp(1.0, -1.0), "clamp"),
    "a negative threshold": (lambda m, x: torch.clamp(m.a(x), torch.zeros(4), -torch.ones(4)), "clamp"),
    "a threshold a sample": (lambda m, x: torch.minimum(m.a(x).relu(), torch.rand(2, 1)), "minimum"),
    "a cut half": (lambda m, x: m.a(x).chunk(2, dim=1)[0], "chain"),
    "a layer on one half": (lambda m, x: m.a(x).chunk(2, dim=1)[0].relu(), "relu"),
    "halves of the batch": (lambda m, x: torch.cat([*m.a(x).chunk(2, dim=0)], 0), "chunk"),
    "unequal parts": (lambda m, x: torch.cat([*m.a(x).split([1, 3], dim=1)], 1), "split"),
    "the smaller ones first": (lambda m, x: (lambda a, b: torch.cat([a.minimum(b), a.maximum(b)], 1))(
        *m.a(x).chunk(2, dim=1)), "cat"),
    "the same half twice": (lambda m, x: (lambda a, b: torch.cat([a.maximum(a), a.minimum(b)], 1))(
        *m.a(x).chunk(2, dim=1)), "maximum"),
    "a pair clipped from the other side": (lambda m, x: (lambda a, b: torch.cat(
        [a.maximum(b).clamp(min=0.1), a.minimum(b)], 1))(*m.a(x).chunk(2, dim=1)), "clamp"),
    "normalised by the batch": (lambda m, x: F.batch_norm(m.a(x), None, None, training=True), "batch_norm"),
    "another pooling": (lambda m, x: F.max_pool1d(m.a(x)[:, None], 2).flatten(1), "unsqueeze|max_pool|slice"),
    "a reflection": (lambda m, x: F.pad(m.a(x).unflatten(1, (1, 2, 2)), (1, 1, 1, 1), "reflect").flatten(1), "pad"),
    "a padding by ones": (lambda m, x: F.pad(
        m.a(x).unflatten(1, (1, 2, 2)), (1, 1, 1, 1), value=1.0).flatten(1), "pad"),
    "a mean over units": (lambda m, x: m.a(x).mean(1, keepdim=True), "mean"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused_by_name(name):
    forward, said = REFUSED[name]
    with pytest.raises(ll.UnsupportedLayer, match=said):
        read_program(program(forward, (4,), batch=2, a=nn.Linear(4, 4)))


def test_a_layer_that_the_bounds_refuse_is_refused_by_them():
    net = read_program(program(lambda m, x: F.softplus(m.a(x), 1.0, 5.0), (4,), a=nn.Linear(4, 4)))
    with pytest.raises(ll.UnsupportedLayer, match="threshold"):
        ll.local_bound(net.double(), torch.zeros(1, 4).double(), 0.1)


def test_one_input_and_one_output():
    two = export(Written(lambda m, x: (x.relu(), x.tanh())), (torch.randn(2, 3),))
    with pytest.raises(ll.InvalidInput, match="1 inputs, 2 outputs"):
        read_program(two)
    learning = export(nn.Sequential(nn.BatchNorm1d(3)).train(), (torch.randn(2, 3),))
    with pytest.raises((ll.InvalidInput, ll.UnsupportedLayer), match=r"outputs|add|batch_norm"):
        read_program(learning)


@pytest.mark.parametrize("content", [None, b"", b"PK nothing of the kind"])
def test_a_file_that_is_none(content, tmp_path):
    path = tmp_path / "net.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ll.InvalidInput, match=r"torch\.export\.save"):
        ll.nets.load(path)
