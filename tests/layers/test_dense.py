"""Dense layers: constants at the worst activation patterns, formulas by hand, weights at the edge of a precision."""

import math

import pytest
import torch
from jacobian_norms import sampled_norm, trained, worst_norm
from safetensors.torch import load_file, save_file
from torch import nn

import lliptools as ll

L = ll.layers
RESIDUAL = {"sll": L.SLLLinear, "cpl": L.CPLLinear}
MAPS = {"aol": L.AOLLinear, "spectral": L.SpectralLinear, "cayley": L.CayleyLinear, "bro": L.BROLinear}
ALL = {**RESIDUAL, **MAPS, "sandwich": L.SandwichLinear}
SIZES = [(1, 1), (3, 5), (5, 3), (4, 4), (6, 1), (1, 7)]
LIMIT = {torch.float64: 1 + 1e-12, torch.float32: 1 + 1e-6}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("name", ALL)
def test_constant_is_one_fresh_trained_and_loaded(name, dtype, sizes, tmp_path):
    layer, features = ALL[name](*sizes).to(dtype), (sizes[0],)
    assert worst_norm(layer, features, dtype) <= LIMIT[dtype]
    trained(layer, features)
    assert worst_norm(layer, features, dtype) <= LIMIT[dtype]
    assert worst_norm(layer, features) <= LIMIT[torch.float64]
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = ALL[name](*sizes).to(dtype)
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    x = torch.randn(4, *features, dtype=dtype)
    assert torch.equal(layer(x), other(x))
    assert sampled_norm(other.double(), features) <= LIMIT[torch.float64]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("name", ["cayley", "bro"])
def test_orthogonal_layers_keep_lengths(name, scale, sizes):
    layer = MAPS[name](*sizes).double()
    with torch.no_grad():
        layer.weight.normal_().mul_(scale)
    values = torch.linalg.svdvals(layer.matrix())
    torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-12, atol=0)
    assert "singular values 1" in str(layer.lipschitz_bound())


ACTIVATIONS = [
    nn.LeakyReLU(0.3),
    nn.Tanh(),
    nn.Softplus(5.0, 40.0),
    nn.ELU(0.7),
    nn.Hardtanh(),
    ll.nets.ClippedReLU(0.4),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("kind", [L.SLLLinear, L.CPLLinear, L.SandwichLinear])
def test_every_activation_that_is_taken(kind, activation):
    layer = trained(kind(4, 6, activation).double(), (4,))
    for size in (0.1, 2.0, 20.0):
        assert sampled_norm(layer, (4,), 30, size) <= LIMIT[torch.float64]


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("name", [*ALL, "normalized"])
def test_every_parameter_has_a_gradient(name, dtype):
    layer = (ALL | {"normalized": L.NormalizedLinear})[name](4, 5).to(dtype)
    for parameter in layer.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    layer(torch.randn(7, 4, dtype=dtype)).square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any()


@pytest.mark.parametrize("name", [*ALL, "normalized"])
def test_gradients_are_those_of_the_function(name):
    layer = (ALL | {"normalized": L.NormalizedLinear})[name](3, 4).double()
    for parameter in layer.parameters():
        parameter.data.normal_(0.2, 0.5)
    x, parameters = torch.randn(5, 3).double(), dict(layer.named_parameters())

    def outputs(*values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(outputs, tuple(p.detach().requires_grad_() for p in parameters.values()))


EXTREMES = [
    (torch.float32, 1e30), (torch.float32, 1e-5), (torch.float32, 1e-30), (torch.float32, 1e-40),
    (torch.float64, 1e200),
    (torch.float64, 1e-5), (torch.float64, 1e-30), (torch.float64, 1e-150), (torch.float64, 1e-310),
    (torch.float64, 2e-323), (torch.float64, 5e-324), (torch.float64, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "size"), EXTREMES)
@pytest.mark.parametrize("name", [*ALL, "normalized"])
def test_weights_of_any_size(name, dtype, size):
    layer = (ALL | {"normalized": L.NormalizedLinear})[name](3, 4).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight, dtype=torch.float64).sign() * size)
    y = layer(torch.randn(5, 3, dtype=dtype))
    y.sum().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    allowed = layer.lipschitz_bound() * LIMIT[dtype]
    assert worst_norm(layer, (3,), dtype) <= allowed
    assert worst_norm(layer, (3,)) <= layer.lipschitz_bound() * LIMIT[torch.float64]


@pytest.mark.parametrize("name", [*ALL, "normalized"])
def test_rows_and_columns_of_zeros(name):
    for axis in (0, 1):
        layer = (ALL | {"normalized": L.NormalizedLinear})[name](3, 4).double()
        layer.weight.data.select(axis, 0).zero_()
        y = layer(torch.randn(5, 3).double())
        y.square().sum().backward()
        assert y.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
        assert worst_norm(layer, (3,)) <= layer.lipschitz_bound() * LIMIT[torch.float64]


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize(
    "log_q", [[math.log(1e-8), 0.0, 1.0], [600.0, -600.0, 0.0], [1e4, -1e4, 0.0], [1e30, 0.0, 1.0]]
)
def test_any_q(log_q, dtype):
    layer = L.SLLLinear(3, 3).to(dtype)
    layer.log_q.data.copy_(torch.tensor(log_q))
    y = layer(torch.randn(5, 3, dtype=dtype))
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert worst_norm(layer, (3,), dtype) <= LIMIT[dtype]


@pytest.mark.parametrize("spread", [0.0, 30.0, 80.0, 600.0, 5e3])
def test_rows_that_cancel_under_enormous_q(spread):
    """Products that rounding alone decides, times e^spread: only a symmetric |WᵀW| is safe then."""
    for seed in range(8):
        torch.manual_seed(seed)
        layer = L.SLLLinear(37, 8).double()
        rows = torch.randn(8, 37).double()
        rows = torch.linalg.qr(rows.T).Q.T if seed % 2 else rows
        layer.weight.data.copy_(rows * torch.logspace(-8, 8, 8, dtype=torch.float64)[torch.randperm(8), None])
        layer.log_q.data.copy_(spread * (2 * torch.rand(8) - 1))
        assert worst_norm(layer, (37,)) <= LIMIT[torch.float64]


@pytest.mark.parametrize("log_psi", [40.0, 100.0, 600.0])
@pytest.mark.parametrize("dtype", LIMIT)
def test_any_psi(log_psi, dtype):
    layer = L.SandwichLinear(3, 4).to(dtype)
    layer.log_psi.data.copy_(torch.tensor([log_psi, -log_psi, 0.0, log_psi]))
    y = layer(torch.randn(5, 3, dtype=dtype))
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert worst_norm(layer, (3,)) <= LIMIT[torch.float64]


def test_sll_by_hand():
    layer = L.SLLLinear(3, 4).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    x, w, b, q = torch.randn(3).double(), layer.weight.data, layer.bias.data, layer.log_q.data.exp()
    wanted = x.clone()
    for i in range(4):
        t = sum(abs(float(w[i] @ w[j])) * float(q[j]) / float(q[i]) for j in range(4))
        wanted -= 2 * w[i] / t * max(0.0, float(w[i] @ x + b[i]))
    torch.testing.assert_close(layer(x), wanted, rtol=1e-12, atol=1e-12)


def test_q_adds_nothing_with_relu():
    layer, other = L.SLLLinear(3, 4).double(), L.SLLLinear(3, 4).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    q = layer.log_q.data.exp()
    other.weight.data.copy_(q[:, None] * layer.weight)
    other.bias.data.copy_(q * layer.bias)
    x = torch.randn(9, 3).double()
    torch.testing.assert_close(layer(x), other(x), rtol=1e-12, atol=1e-12)


def test_sll_at_the_perron_vector():
    layer = L.SLLLinear(3, 5).double()
    w = layer.weight.detach()
    values, vectors = torch.linalg.eigh((w @ w.T).abs())
    layer.log_q.data.copy_(vectors[:, -1].abs().log())
    x = torch.randn(9, 3).double()
    torch.testing.assert_close(layer(x), x - 2 / values[-1] * (x @ w.T).relu() @ w, rtol=1e-12, atol=1e-12)


def test_cpl_and_spectral_by_hand():
    layer, x = L.CPLLinear(3, 4).double(), torch.randn(9, 3).double()
    layer.bias.data.normal_()
    w, norm = layer.weight.detach(), torch.linalg.matrix_norm(layer.weight.detach(), 2)
    wanted = x - 2 / norm**2 * (x @ w.T + layer.bias).relu() @ w
    torch.testing.assert_close(layer(x), wanted, rtol=1e-12, atol=1e-12)
    layer = L.SpectralLinear(3, 4).double()
    layer.weight.data.normal_()
    w = layer.weight.detach()
    torch.testing.assert_close(layer(x), x @ w.T / torch.linalg.matrix_norm(w, 2), rtol=1e-12, atol=1e-12)


def test_aol_by_hand():
    layer, x = L.AOLLinear(3, 4).double(), torch.randn(3).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    w, wanted = layer.weight.data, layer.bias.data.clone()
    for j in range(3):
        wanted += w[:, j] * x[j] / math.sqrt(sum(abs(float(w[:, i] @ w[:, j])) for i in range(3)))
    torch.testing.assert_close(layer(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (5, 3), (3, 5)])
def test_cayley_by_hand(rows, columns):
    w = torch.randn(rows, columns).double()
    tall = w if rows >= columns else w.T
    U, V, eye = tall[: tall.shape[1]], tall[tall.shape[1] :], torch.eye(tall.shape[1]).double()
    A = U - U.T + V.T @ V
    inverse = torch.linalg.inv(eye + A)
    wanted = torch.cat([inverse @ (eye - A), -2 * V @ inverse])
    torch.testing.assert_close(L.cayley(w), wanted if rows >= columns else wanted.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [(4, 4), (6, 4), (4, 6)])
def test_bro_by_hand(sizes):
    layer = L.BROLinear(*sizes, rank=2).double()
    V = layer.weight.detach()
    whole = torch.eye(len(V)).double() - 2 * V @ torch.linalg.inv(V.T @ V) @ V.T
    torch.testing.assert_close(layer.matrix(), whole[: sizes[1], : sizes[0]], rtol=1e-12, atol=1e-12)


def test_sandwich_by_hand():
    layer, x = L.SandwichLinear(3, 4).double(), torch.randn(9, 3).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    Q, psi = L.cayley(layer.weight.detach()), layer.log_psi.detach().exp()
    A, B = Q[:, :4], Q[:, 4:]
    torch.testing.assert_close(A @ A.T + B @ B.T, torch.eye(4).double(), rtol=1e-12, atol=1e-12)
    wanted = math.sqrt(2) * (math.sqrt(2) * x @ B.T / psi + layer.bias).relu() * psi @ A
    torch.testing.assert_close(layer(x), wanted, rtol=1e-12, atol=1e-12)


def test_normalized_by_hand():
    layer, x = L.NormalizedLinear(3, 4).double(), torch.randn(9, 3).double()
    layer.weight.data.normal_()
    layer.bias.data.normal_()
    w = layer.weight.detach() / layer.weight.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer(x), x @ w.T + layer.bias, rtol=1e-12, atol=1e-12)
    assert float(layer.lipschitz_bound()) == 2.0


def test_reflections_of_columns_that_depend_on_each_other():
    first, second = torch.randn(2, 6, 1).double()
    for V in (first.repeat(1, 3), torch.cat([first, second, first + second], dim=1), 0 * first.repeat(1, 2)):
        layer = L.BROLinear(6, 6, rank=V.shape[1]).double()
        layer.weight.data.copy_(V)
        matrix = layer.matrix()
        matrix.sum().backward()
        assert layer.weight.grad.isfinite().all()
        torch.testing.assert_close(torch.linalg.svdvals(matrix), torch.ones(6).double(), rtol=1e-12, atol=0)
    for gap in (1e-2, 1e-3, 1e-4):
        layer.weight.data.copy_(torch.cat([first, first + gap * second], dim=1))
        torch.testing.assert_close(torch.linalg.svdvals(layer.matrix()), torch.ones(6).double(), rtol=1e-12, atol=0)
    for gap in (1e-7, 1e-8, 1e-9):
        layer.weight.data.copy_(torch.cat([first, first + gap * second], dim=1))
        assert torch.linalg.matrix_norm(layer.matrix(), 2) <= 1 + 1e-12


@pytest.mark.parametrize("size", [1e4, 1e8, 1e30, 1e150])
def test_cayley_of_large_weights(size):
    for sizes in ((5, 5), (7, 3)):
        layer = L.CayleyLinear(*sizes).double()
        layer.weight.data.normal_().mul_(size)
        layer.weight.data[0] = layer.weight.data[1]
        matrix = layer.matrix()
        matrix.sum().backward()
        assert layer.weight.grad.isfinite().all()
        values = torch.linalg.svdvals(matrix)
        torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-12, atol=0)
