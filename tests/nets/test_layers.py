"""Every linear layer is read as the map that torch computes, with the right adjoint, |W|, row norms and matrix."""

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets.composition import LARGEST_MATRIX
from lliptools.nets.rows import row_norms

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

LAYERS = {
    "dense": (nn.Linear(7, 5), (7,)),
    "dense, no bias": (nn.Linear(7, 5, bias=False), (7,)),
    "padded": (nn.Conv2d(2, 4, 3, padding=1), (2, 6, 7)),
    "strided": (nn.Conv2d(2, 4, 4, 2, 1), (2, 8, 9)),
    "same": (nn.Conv2d(2, 4, 2, padding="same"), (2, 6, 5)),
    "valid": (nn.Conv2d(2, 4, 3, padding="valid", bias=False), (2, 6, 5)),
    "circular": (nn.Conv2d(2, 4, 3, padding="same", padding_mode="circular"), (2, 6, 5)),
    "circular, even kernel": (nn.Conv2d(2, 4, 4, padding="same", padding_mode="circular"), (2, 6, 5)),
    "circular, too wide": (nn.Conv2d(1, 2, 2, padding=1, padding_mode="circular"), (1, 4, 4)),
    "circular, strided": (nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="circular"), (2, 6, 8)),
    "circular, strided, odd": (nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="circular"), (2, 7, 9)),
    "dilated, grouped": (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), (4, 9, 7)),
    "dilated, strided": (nn.Conv2d(4, 6, 3, stride=(2, 1), padding=2, dilation=(2, 1)), (4, 9, 7)),
    "depthwise": (nn.Conv2d(3, 6, 3, groups=3, padding=(1, 0)), (3, 5, 5)),
    "long stride": (nn.Conv2d(1, 3, 5, stride=(1, 3), padding=(2, 0)), (1, 7, 9)),
    "stride beyond the kernel": (nn.Conv2d(2, 3, 1, stride=2), (2, 5, 5)),
    "one pixel": (nn.Conv2d(2, 3, 3, padding=1), (2, 1, 1)),
    "signal": (nn.Conv1d(3, 4, 5, 2, 2), (3, 11)),
    "circular signal": (nn.Conv1d(3, 4, 3, padding=2, padding_mode="circular"), (3, 6)),
    "average": (nn.AvgPool2d(2), (3, 6, 6)),
    "overlapping average": (nn.AvgPool2d(3, 1, 1), (3, 6, 5)),
    "global average": (nn.AdaptiveAvgPool2d(1), (3, 4, 5)),
    "average of signals": (nn.AvgPool1d(3, 2, 1), (2, 8)),
    "means": (nn.AdaptiveAvgPool2d((2, 3)), (2, 6, 6)),
    "means of unequal windows": (nn.AdaptiveAvgPool2d((3, 4)), (2, 7, 6)),
    "more means than pixels": (nn.AdaptiveAvgPool2d((5, None)), (2, 3, 4)),
    "means of signals": (nn.AdaptiveAvgPool1d(3), (2, 7)),
    "reflected": (nn.ReflectionPad2d((1, 2, 0, 3)), (2, 4, 5)),
    "repeated": (nn.ReplicationPad2d((1, 0, 2, 2)), (2, 3, 3)),
    "reflected signals": (nn.ReflectionPad1d(2), (2, 4)),
    "repeated signals": (nn.ReplicationPad1d((0, 3)), (2, 4)),
    "signals around": (nn.CircularPad1d((2, 1)), (2, 4)),
    "padded signals, cut": (nn.ZeroPad1d((2, -1)), (2, 4)),
    "larger": (nn.Upsample(scale_factor=2), (2, 3, 4)),
    "larger, to a size": (nn.Upsample(size=(5, 7)), (2, 3, 4)),
    "larger signals": (nn.Upsample(scale_factor=1.5), (2, 5)),
    "shuffled": (nn.PixelShuffle(2), (8, 2, 3)),
    "batch norm": (nn.BatchNorm2d(3), (3, 4, 4)),
    "batch norm of signals": (nn.BatchNorm1d(3, affine=False), (3, 4)),
    "batch norm of features": (nn.BatchNorm1d(5), (5,)),
}
CHAINS = {
    "reflected conv": nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
    "repeated conv, strided": nn.Conv2d(2, 3, 3, stride=2, padding=(2, 1), padding_mode="replicate"),
    "conv and batch norm": nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)),
    "batch norm and conv": nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1)),
    "conv, pool, flatten, dense": nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 5)
    ),
    "two convs": nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Dropout(), nn.Conv2d(3, 2, 3, padding=1, bias=False)),
}


def prepared(layer):
    torch.manual_seed(0)
    net = nn.Sequential(layer).double().eval()
    for name, buffer in net.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 2.0)
    for name, parameter in net.named_parameters():
        if "bias" in name or parameter.dim() == 1:
            parameter.data.normal_()
    return net


@pytest.mark.parametrize("name", [*LAYERS, *CHAINS])
def test_layer_is_read_as_what_torch_computes(name):
    layer, shape = LAYERS[name] if name in LAYERS else (CHAINS[name], (2, 6, 6))
    net = prepared(layer)
    (block,) = ll.nets.read_blocks(net, torch.Size(shape))
    linear, x = block.linear, torch.randn(3, *shape, dtype=torch.float64)
    torch.testing.assert_close(linear.apply(x).flatten(1), net(x).flatten(1))
    W = torch.func.vmap(torch.func.jacrev(lambda h: net(h[None]).flatten()))(x[:1])[0].flatten(1)
    torch.testing.assert_close(linear.weight, W)
    z = torch.randn(3, *linear.out_shape, dtype=torch.float64)
    torch.testing.assert_close(linear.linear(x).flatten(1), x.flatten(1) @ W.T)
    torch.testing.assert_close(linear.adjoint(z).flatten(1), z.flatten(1) @ W)
    torch.testing.assert_close(linear.apply_absolute(x.abs()).flatten(1), x.abs().flatten(1) @ W.abs().T)
    slope = torch.rand(3, *shape, dtype=torch.float64) * (torch.rand(3, *shape) > 0.5)
    torch.testing.assert_close(row_norms(linear, slope).flatten(1), (slope.flatten(1) @ W.square().T).sqrt())


def test_rows_of_a_kernel_that_meets_itself_are_bounded_from_above():
    """Three ones on a circle of two: the matrix is [[1, 2], [2, 1]]."""
    layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False).double()
    nn.init.ones_(layer.weight)
    (block,) = ll.nets.read_blocks(nn.Sequential(layer), torch.Size([1, 2]))
    assert block.linear.weight.tolist() == [[1.0, 2.0], [2.0, 1.0]]
    assert (row_norms(block.linear, torch.ones(1, 1, 2).double()) >= 5**0.5).all()


def test_layers_kept_apart_are_bounded_from_above():
    """Too large for one matrix: |W| and the row norms are those of the layers one after the other."""
    net = prepared(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))).float()
    x = torch.rand(1, 1, 36, 36)
    (block,) = ll.nets.read_blocks(net, x.shape[1:])
    assert len(block.linear.operators) == 2
    assert block.linear.rows * block.linear.columns > LARGEST_MATRIX
    impulse = torch.zeros(1, 1, 36, 36).double()
    impulse[0, 0, 9, 9] = 1.0
    assert (block.linear.apply_absolute(impulse) >= block.linear.linear(impulse).abs() - 1e-12).all()
    some = torch.randint(0, block.linear.rows, (5,)).tolist()
    rows = torch.eye(block.linear.rows, dtype=torch.float64)[some].reshape(5, *block.linear.out_shape)
    lengths = block.linear.adjoint(rows).flatten(1).norm(dim=1)
    assert (row_norms(block.linear, torch.ones_like(impulse)).flatten()[some] >= lengths - 1e-12).all()
    bound = ll.local_bound(net, x, 0.1)
    assert bound.kind == "upper"
    # the norm of the composition, and not the product of the two norms
    norms = [ll.spectral_norm(layer, "fft", input_shape=s) for layer, s in zip(net[0], ((1, 36, 36), (4, 36, 36)))]  # noqa: B905
    assert bound.value.item() < 0.9 * norms[0].item() * norms[1].item()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_repeated_borders_kept_apart(mode):
    """Too large for one matrix: no row, |W| or norm below the true one, and rows inside are the true ones."""
    net = prepared(nn.Conv2d(2, 4, 3, padding=1, padding_mode=mode))
    x = torch.rand(2, 2, 28, 28).double()
    (block,) = ll.nets.read_blocks(net, x.shape[1:])
    linear = block.linear
    assert len(linear.operators) == 2
    assert linear.rows * linear.columns > LARGEST_MATRIX
    torch.testing.assert_close(linear.apply(x), net(x).flatten(1))
    W = linear.adjoint(torch.eye(linear.rows, dtype=torch.float64)).flatten(1)
    slope = torch.rand(2, *linear.in_shape, dtype=torch.float64)
    found, exact = (
        rows.reshape(2, 4, 28, 28) for rows in (row_norms(linear, slope), (slope.flatten(1) @ W.square().T).sqrt())
    )
    assert (found >= exact * (1 - 1e-12)).all()
    torch.testing.assert_close(found[..., 3:-3, 3:-3], exact[..., 3:-3, 3:-3])
    assert (linear.apply_absolute(x).flatten(1) >= x.flatten(1) @ W.abs().T * (1 - 1e-12)).all()
    size = torch.linalg.matrix_norm(W, 2)
    for method in ("aposteriori", "fft", "sums"):
        assert size <= ll.spectral_norm(net[0], method=method, input_shape=x.shape[1:]) <= 6 * size
    lower, upper = ll.sampled_bound(nn.Sequential(*net, nn.Flatten()), x, 0.1), ll.local_bound(net, x, 0.1)
    assert (lower.value <= upper.value).all()


def test_a_layer_used_twice_is_read_twice():
    layer = nn.Linear(3, 3)
    act = nn.ReLU()
    net = nn.Sequential(layer, act, layer, act, nn.Linear(3, 2)).double()
    x = torch.randn(4, 3).double()
    blocks = ll.nets.read_blocks(net, x.shape[1:])
    assert len(blocks) == 3
    torch.testing.assert_close(ll.nets.forward(blocks, x), net(x))


def test_gradient_passes_through_composed_layers():
    net = prepared(CHAINS["conv, pool, flatten, dense"])
    bound = ll.local_bound(net, torch.randn(2, 2, 6, 6), 0.1, differentiable=True)
    bound.value.sum().backward()
    assert all(p.grad is not None and p.grad.any() for name, p in net.named_parameters() if "weight" in name)


SHAPES = [
    (nn.Conv2d(2, 3, 3), (3, 6, 6), r"samples of shape \(2, size, size\)"),
    (nn.Conv2d(2, 3, 7), (2, 6, 6), "fits on"),
    (nn.Conv2d(2, 3, 3, padding=3, padding_mode="circular"), (2, 2, 2), "fits on"),
    (nn.Conv1d(2, 3, 3), (2, 6, 6), r"\(2, size\)"),
    (nn.AvgPool2d(7), (2, 6, 6), "images of at least"),
    (nn.Unflatten(1, (2, 5)), (9,), "can reshape"),
    (nn.BatchNorm2d(4), (3, 5, 5), "4 features"),
    (ll.nets.MaxMin(), (3,), "even number of channels"),
    (ll.nets.ClippedReLU(torch.ones(3, 1, 1)), (4, 5, 5), "broadcasts over"),
    (ll.nets.ClippedMaxMin(torch.ones(4)), (4,), "broadcasts over"),
    (ll.nets.Residual(nn.Sequential(nn.Linear(4, 3))), (4,), "keeps the shape"),
]


@pytest.mark.parametrize(("layer", "shape", "said"), SHAPES)
def test_shapes_that_do_not_fit(layer, shape, said):
    with pytest.raises(ll.InvalidInput, match=said):
        ll.local_bound(nn.Sequential(layer).eval(), torch.zeros(1, *shape), 0.1)
