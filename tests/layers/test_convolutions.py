"""Convolutional layers: constants over kernels, paddings, strides and sizes, against matrices written by loops."""

import itertools
import math

import pytest
import torch
from jacobian_norms import dense_convolution, matrix, sampled_norm, trained, worst_norm

import lliptools as ll

L = ll.layers
RESIDUAL = {"sll": L.SLLConv2d, "cpl": L.CPLConv2d}
MAPS = {"aol": L.AOLConv2d, "spectral": L.SpectralConv2d}
ALL = {**RESIDUAL, **MAPS}
LIMIT = {torch.float64: 1 + 1e-12, torch.float32: 1 + 1e-6}


def paddings(kernel, mode):
    return [(kernel - 1) // 2] if mode == "circular" else sorted({0, kernel // 2, kernel})


GEOMETRY = [
    (kernel, padding, mode, stride)
    for kernel in range(1, 6)
    for mode in ("zeros", "circular")
    for padding in paddings(kernel, mode)
    for stride in (1, 2, 3)
]


@pytest.mark.parametrize(("kernel", "padding", "mode", "stride"), GEOMETRY)
@pytest.mark.parametrize("name", ALL)
def test_constant_is_at_most_one(name, kernel, padding, mode, stride):
    dtype = (torch.float64, torch.float32)[(kernel + padding + stride) % 2]
    layer = ALL[name](2, 3, kernel, padding, mode, stride=stride).to(dtype)
    layer.weight.data.normal_()
    for shape in ((2, 5, 6), (2, max(kernel - 2 * padding, padding, 1), 5)):
        assert worst_norm(layer, shape, dtype, 8) <= LIMIT[dtype]
    trained(layer, (2, 5, 6), steps=3)
    assert worst_norm(layer, (2, 6, 5), dtype, 8) <= LIMIT[dtype]


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ALL)
def test_constant_after_training_and_loading(name, stride, mode, tmp_path):
    layer = trained(ALL[name](2, 3, padding_mode=mode, stride=stride).double(), (2, 5, 6))
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    other = ALL[name](2, 3, padding_mode=mode, stride=stride).double()
    other.load_state_dict(torch.load(tmp_path / "layer.pt"))
    x = torch.randn(3, 2, 5, 6).double()
    assert torch.equal(layer(x), other(x))
    assert sampled_norm(other, (2, 5, 6), 5) <= LIMIT[torch.float64]


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("name", RESIDUAL)
def test_all_activation_patterns(name, mode):
    """Two channels on four places: all of 2^8 patterns."""
    layer = RESIDUAL[name](3, 2, padding_mode=mode, stride=2).double()
    for _ in range(5):
        layer.weight.data.normal_()
        assert worst_norm(layer, (3, 4, 4)) <= LIMIT[torch.float64]
        assert worst_norm(layer, (3, 3, 3)) <= LIMIT[torch.float64]


@pytest.mark.parametrize(("kernel", "padding", "mode", "stride"), GEOMETRY)
def test_convolutions_by_loops(kernel, padding, mode, stride):
    """Forward against dense matrices: x − 2 Hᵀ T⁻¹ relu(Hx + b)."""
    layer = L.SLLConv2d(2, 3, kernel, padding, mode, stride=stride).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    H = dense_convolution(layer.weight.detach(), (5, 6), padding, stride, mode == "circular")
    scale = L.condition.conv_gershgorin_scale(layer.weight.detach(), layer.log_q.detach().exp())
    scale, bias = (v.repeat_interleave(len(H) // 3) for v in (scale, layer.bias.detach()))
    x = torch.randn(4, 2, 5, 6).double()
    flat = x.flatten(1)
    wanted = flat - 2 * ((flat @ H.T + bias).relu() / scale) @ H
    torch.testing.assert_close(layer(x).flatten(1), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MAPS)
def test_maps_by_loops(name):
    layer = MAPS[name](2, 3, 3, 1, stride=2).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    w = layer.weight.detach()
    if name == "aol":
        scale = L.condition.conv_gershgorin_scale(w.transpose(0, 1), torch.ones(2).double())
        kernel = w / scale.sqrt()[:, None, None]
    else:
        kernel = w / L.kernel_norm(w, (2, 2))
    H = dense_convolution(kernel, (5, 6), 1, 2, False)
    x = torch.randn(4, 2, 5, 6).double()
    wanted = x.flatten(1) @ H.T + layer.bias.repeat_interleave(len(H) // 3)
    torch.testing.assert_close(layer(x).flatten(1), wanted, rtol=1e-12, atol=1e-12)


def test_cpl_by_loops():
    layer = L.CPLConv2d(2, 3).double()
    layer.weight.data.normal_()
    H = dense_convolution(layer.weight.detach(), (5, 6), 1, 1, False)
    norm = L.kernel_norm(layer.weight.detach(), (1, 1))
    x = torch.randn(4, 2, 5, 6).double()
    wanted = x.flatten(1) - 2 / norm**2 * (x.flatten(1) @ H.T).relu() @ H
    torch.testing.assert_close(layer(x).flatten(1), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("name", [*ALL, "cayley"])
def test_every_parameter_has_a_gradient(name, mode, dtype):
    layer = L.CayleyConv2d(2, 3) if name == "cayley" else ALL[name](2, 3, padding_mode=mode)
    for parameter in layer.to(dtype).parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    layer(torch.randn(4, 2, 5, 4, dtype=dtype)).pow(3).sum().backward()
    for which, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all(), which
        there = parameter.grad.abs() > 1e-6
        # Cayley's does not see the middle of a filter's own channel.
        assert there.all() or (name == "cayley" and there.double().mean() > 0.8), which


@pytest.mark.parametrize("name", [*ALL, "cayley"])
def test_gradients_are_those_of_the_function(name):
    layer = (ALL | {"cayley": L.CayleyConv2d})[name](2, 2, 2, 0).double()
    for parameter in layer.parameters():
        parameter.data.normal_(0.2, 0.5)
    x, parameters = torch.randn(2, 2, 3, 3).double(), dict(layer.named_parameters())

    def outputs(*values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(outputs, tuple(p.detach().requires_grad_() for p in parameters.values()))


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(torch.float32, s) for s in (1e30, 1e-5, 1e-30, 1e-40)]
    + [(torch.float64, s) for s in (1e200, 1e-5, 1e-30, 1e-310, 2e-323, 0.0)],
)
@pytest.mark.parametrize("name", [*ALL, "cayley"])
def test_weights_of_any_size(name, dtype, size):
    layer = (ALL | {"cayley": L.CayleyConv2d})[name](2, 3).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight, dtype=torch.float64).sign() * size)
        layer.weight[0].zero_()
    y = layer(torch.randn(3, 2, 4, 5, dtype=dtype))
    y.sum().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert worst_norm(layer, (2, 4, 5), dtype, 4) <= LIMIT[dtype]


@pytest.mark.parametrize("log_q", [[math.log(1e-8), 0.0, 1.0], [600.0, -600.0, 0.0], [1e4, -1e4, 0.0]])
def test_any_q(log_q):
    layer = L.SLLConv2d(2, 3).double()
    layer.log_q.data.copy_(torch.tensor(log_q))
    y = layer(torch.randn(3, 2, 4, 5).double())
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert worst_norm(layer, (2, 4, 5)) <= LIMIT[torch.float64]


@pytest.mark.parametrize("spread", [80.0, 600.0])
def test_filters_that_cancel_under_enormous_q(spread):
    for seed in range(4):
        torch.manual_seed(seed)
        layer = L.SLLConv2d(3, 5).double()
        filters = torch.linalg.qr(torch.randn(27, 5).double()).Q.T.reshape(5, 3, 3, 3)
        layer.weight.data.copy_(filters)
        layer.log_q.data.copy_(spread * (2 * torch.rand(5) - 1))
        assert worst_norm(layer, (3, 4, 4)) <= LIMIT[torch.float64]


@pytest.mark.parametrize("sizes", [(2, 2), (3, 2), (2, 3), (1, 4)])
@pytest.mark.parametrize("kernel", range(1, 6))
def test_cayley_convolutions_are_orthogonal(kernel, sizes):
    layer = L.CayleyConv2d(*sizes, kernel).double()
    trained(layer, (sizes[0], 5, 6), steps=10)
    for size in ((kernel, kernel), (5, 6), (6, 5)):
        for weight in (1.0, 1e8):
            layer.weight.data.mul_(weight)
            shape = (sizes[0], *size)
            x = torch.randn(3, *shape).double()
            (spelled,) = layer.chain(shape, torch.float64).steps
            torch.testing.assert_close(layer(x), spelled(x), rtol=1e-12, atol=1e-12)
            values = torch.linalg.svdvals(matrix(layer, shape))
            torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-12, atol=0)
            layer.weight.data.div_(weight)


def test_cayley_convolutions_by_hand():
    """Every frequency's matrix, as a sum over pixels, taken through the Cayley transform."""
    layer, (h, w) = L.CayleyConv2d(2, 2, 3).double(), (5, 4)
    kernel, x = layer.weight.detach(), torch.randn(2, h, w).double()
    spectrum, wanted = torch.fft.fft2(x), torch.zeros(2, h, w, dtype=torch.complex128)
    for u, v in itertools.product(range(h), range(w)):
        symbol = torch.zeros(2, 2, dtype=torch.complex128)
        for a, b in itertools.product(range(3), repeat=2):
            symbol += kernel[:, :, a, b] * complex(
                math.cos(2 * math.pi * (u * (a - 1) / h + v * (b - 1) / w)),
                math.sin(2 * math.pi * (u * (a - 1) / h + v * (b - 1) / w)),
            )
        skew, eye = symbol - symbol.mH, torch.eye(2)
        wanted[:, u, v] = torch.linalg.inv(eye + skew) @ (eye - skew) @ spectrum[:, u, v]
    torch.testing.assert_close(layer(x[None])[0], torch.fft.ifft2(wanted).real, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_circular_with_a_stride_that_does_not_divide(seed):
    torch.manual_seed(seed)
    for name, kind in ALL.items():
        layer = kind(1, 2, 3, 1, "circular", stride=(2, 3)[seed % 2]).double()
        layer.weight.data.normal_()
        layer.weight.data[0].abs_()  # all of one sign: every row that repeats adds up
        for size in ((5, 7), (3, 4), (1, 5), (2, 2)):
            assert worst_norm(layer, (1, *size), patterns=8) <= LIMIT[torch.float64], name


def test_adjoint_of_convolutions_on_small_tori():
    for kernel, padding, stride, size in ((3, 1, 1, 1), (3, 1, 2, 2), (5, 2, 1, 2), (5, 1, 1, 3), (4, 1, 2, 3)):
        layer = L.SLLConv2d(2, 3, kernel, padding, "circular", stride=stride).double()
        operator = layer.convolution(layer.weight.detach(), (2, size, size))
        H = dense_convolution(layer.weight.detach(), (size, size), padding, stride, True)
        torch.testing.assert_close(matrix(operator, operator.in_shape), H, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(matrix(operator.adjoint, operator.out_shape), H.T, rtol=1e-12, atol=1e-12)


def test_paddings_that_break_the_theorem():
    """k = 2 with circular padding 1: the output is larger than the input, and the constant 2.66."""
    kernel, q = torch.ones(1, 1, 2, 2).double(), torch.ones(1).double()
    H = dense_convolution(kernel, (2, 2), 1, 1, True)
    scale = L.condition.conv_gershgorin_scale(kernel, q)
    jacobian = torch.eye(4).double() - 2 * H.T @ H / scale
    assert torch.linalg.matrix_norm(jacobian, 2) > 1.5
    with pytest.raises(ll.UnsupportedLayer, match="circular padding"):
        L.SLLConv2d(1, 1, 2, 1, "circular")


def test_isometries():
    x = torch.randn(3, 2, 7, 5).double()
    assert torch.equal(L.PadChannels(2, 4).double()(x), torch.cat([x, 0 * x], dim=1))
    wanted = torch.nn.functional.avg_pool2d(x, 2) * 2
    torch.testing.assert_close(L.ScaledAvgPool2d(2).double()(x), wanted, rtol=1e-12, atol=1e-12)
    for layer in (L.PadChannels(2, 4), L.ScaledAvgPool2d(3), L.ScaledAvgPool2d(1)):
        assert worst_norm(layer, (2, 6, 7)) == pytest.approx(1.0, rel=1e-12)
        for dtype in LIMIT:
            chain = layer.chain((2, 6, 7), dtype)
            assert worst_norm(layer, (2, 6, 7), dtype) <= 1 + chain.rounding


def test_isometries_follow_the_network_to_its_place():
    net = torch.nn.Sequential(L.PadChannels(3, 4), L.ScaledAvgPool2d(2)).to("meta")
    for layer, shape in zip(net, ((3, 4, 4), (4, 4, 4)), strict=True):
        assert layer.chain(shape, torch.float32).steps[0].operators[0].weight.device.type == "meta"
    assert not net.state_dict()
