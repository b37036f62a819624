"""The condition T ⪰ WᵀW: numbers known by hand, and what it proves held against eigenvalues."""

import itertools

import pytest
import torch
from jacobian_norms import dense_convolution

import lliptools as ll
from lliptools.layers import condition

W = torch.tensor([[1.0, 0.6], [0.2, 0.9]], dtype=torch.float64)


def test_numbers_of_two_columns():
    one = torch.ones(2).double()
    torch.testing.assert_close(
        condition.gershgorin_scale(W, one), torch.tensor([1.82, 1.95], dtype=torch.float64), rtol=1e-12, atol=0
    )
    assert ll.layers.matrix_norm(W).item() ** 2 == pytest.approx(1.8877, abs=5e-5)
    gram = W.T @ W
    for q in ([1.0, 3.0], [0.2, 1.0], [1e-2, 1.0], [1.0, 1.0]):
        t = condition.gershgorin_scale(W, torch.tensor(q, dtype=torch.float64))
        assert ((t[0] - gram[0, 0]) * (t[1] - gram[1, 1])).item() == pytest.approx(gram[0, 1].item() ** 2, rel=1e-9)
        assert abs(condition.slack(W, t)) <= 1e-14 * t.max()  # on the edge of what is feasible
        assert condition.slack(W, t - 0.01) < 0


def test_perron_vector_makes_all_scales_equal():
    rows = torch.randn(5, 7).double()
    size = (rows @ rows.T).abs()
    values, vectors = torch.linalg.eigh(size)
    scale = condition.gershgorin_scale(rows.T, vectors[:, -1].abs())
    torch.testing.assert_close(scale, values[-1].expand(5), rtol=1e-12, atol=0)


def test_scale_by_loops():
    w, q = torch.randn(4, 3).double(), torch.rand(3).double() + 0.1
    wanted = [sum(abs(float(w[:, i] @ w[:, j])) * float(q[j] / q[i]) for j in range(3)) for i in range(3)]
    torch.testing.assert_close(
        condition.gershgorin_scale(w, q), torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("seed", range(5))
def test_scale_fulfils_the_condition(seed):
    torch.manual_seed(seed)
    w, q = torch.randn(4, 6).double(), (3 * torch.randn(6).double()).exp()
    scale = condition.gershgorin_scale(w, q)
    assert condition.slack(w, scale) >= -1e-12 * scale.max()
    assert condition.slack(w, 0.1 * torch.diag(w.T @ w)) < 0


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (2, 3), (4, 1)])
def test_scale_of_convolutions_by_loops(kernel):
    k, q = torch.randn(3, 2, *kernel).double(), torch.rand(3).double() + 0.1
    size = torch.zeros(3, 3).double()
    for i, j in itertools.product(range(3), repeat=2):
        for a, b in itertools.product(range(1 - kernel[0], kernel[0]), range(1 - kernel[1], kernel[1])):
            total = 0.0
            for y, x in itertools.product(range(kernel[0]), range(kernel[1])):
                if 0 <= y + a < kernel[0] and 0 <= x + b < kernel[1]:
                    total += float(k[i, :, y, x] @ k[j, :, y + a, x + b])
            size[i, j] += abs(total)
    wanted = (size * q).sum(dim=1) / q
    torch.testing.assert_close(condition.conv_gershgorin_scale(k, q), wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("side", "padding", "circular"), [(3, 0, 0), (3, 1, 0), (2, 1, 0), (3, 5, 0), (3, 1, 1), (4, 1, 1)]
)
def test_scale_of_convolutions_fulfils_the_condition(side, padding, circular, stride):
    k, q = torch.randn(3, 2, side, side).double(), torch.rand(3).double() + 0.1
    H = dense_convolution(k, (5, 4), padding, stride, bool(circular))
    scale = condition.conv_gershgorin_scale(k, q).repeat_interleave(len(H) // 3)
    assert condition.slack(H.T, scale) >= -1e-12


def test_scale_of_convolutions_is_no_larger_than_it_must_be():
    K, q = torch.rand(2, 1, 3, 3).double(), torch.ones(2).double()  # all correlations are positive
    H = dense_convolution(K, (15, 15), 1, 1, True)
    scale = condition.conv_gershgorin_scale(K, q)
    torch.testing.assert_close((H @ H.T).sum(dim=1), scale.repeat_interleave(225), rtol=1e-12, atol=0)


def test_overlaps_are_symmetric_to_the_last_bit():
    for inner, features in ((3, 5), (17, 33), (64, 129), (100, 7)):
        size = condition.overlap(torch.randn(inner, features).double())
        assert torch.equal(size, size.T)
    for inner, channels in ((4, 3), (9, 5)):
        size = condition.conv_overlap(torch.randn(inner, channels, 3, 3).double())
        assert torch.equal(size, size.T)


def test_an_asymmetric_gram_matrix_is_made_symmetric():
    class Asymmetric(torch.Tensor):
        """Rows whose products are rounded in one order only: 0 above the diagonal, a last bit below."""

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func in (torch.Tensor.__matmul__, torch.Tensor.matmul):
                return torch.tensor([[1.0, 0.0], [1e-16, 1.0]], dtype=torch.float64)
            return super().__torch_function__(func, types, args, kwargs or {})

    size = condition.overlap(torch.eye(2).double().as_subclass(Asymmetric))
    assert size[0, 1] == size[1, 0] == 1e-16


@pytest.mark.parametrize("kind", [ll.layers.SLLLinear, ll.layers.CPLLinear])
def test_matrix_inequality_of_residual_layers(kind):
    layer = kind(5, 4).double()
    if kind is ll.layers.SLLLinear:
        layer.log_q.data.normal_()
    there, _, back = layer.chain((5,), torch.float64).steps
    H, G, w = torch.eye(5).double(), back.operators[0].weight.detach(), there.operators[0].weight.detach().T
    multipliers = (-G / w).mean(dim=0)  # G = −WΛ
    assert condition.lmi_slack(H, G, w, multipliers, 1.0) >= -1e-12
    assert condition.lmi_slack(H, G, w, multipliers, 0.99) < 0
    assert condition.lmi_slack(H, 1.5 * G, w, 1.5 * multipliers, 1.0) < 0
    assert condition.lmi_slack(H, -G, w, multipliers, 1.0) < 0  # x + … is not 1-Lipschitz


def test_matrix_inequality_of_sandwich_layers():
    layer = ll.layers.SandwichLinear(3, 4).double()
    layer.log_psi.data.normal_()
    there, _, back = layer.chain((3,), torch.float64).steps
    H, G, w = torch.zeros(4, 3).double(), back.operators[0].weight.detach(), there.operators[0].weight.detach().T
    multipliers = (2 * layer.log_psi.detach()).exp()  # Λ = Ψ²
    assert condition.lmi_slack(H, G, w, multipliers, 1.0) >= -1e-12
    assert condition.lmi_slack(H, 1.2 * G, w, multipliers, 1.0) < 0


def test_matrix_inequality_of_a_sum_entry_by_entry():
    H, G, w = torch.randn(2, 3).double(), torch.randn(2, 4).double(), torch.randn(3, 4).double()
    multipliers = torch.rand(4).double()
    found = condition.lmi(H, G, w, multipliers, 2.5)
    u, v = torch.randn(3).double(), torch.randn(4).double()
    change = H @ u + G @ v
    wanted = 2.5 * u @ u - change @ change + 2 * (multipliers * v) @ (v - w.T @ u)
    z = torch.cat([u, v])
    torch.testing.assert_close(z @ found @ z, wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(found, found.T)


def test_what_does_not_fit():
    eye = torch.eye(3).double()
    for call, said in (
        (lambda: condition.gershgorin_scale(eye, torch.ones(2)), "positive"),
        (lambda: condition.gershgorin_scale(eye, -torch.ones(3)), "positive"),
        (lambda: condition.gershgorin_scale(eye * torch.nan, torch.ones(3)), "finite"),
        (lambda: condition.conv_gershgorin_scale(eye, torch.ones(3)), "4 axes"),
        (lambda: condition.slack(eye, torch.ones(4)), "shape"),
        (lambda: condition.lmi(eye, eye, eye, -torch.ones(3), 1.0), "multipliers"),
        (lambda: condition.lmi(eye, torch.ones(2, 2).double(), eye, torch.ones(3), 1.0), "G of shape"),
    ):
        with pytest.raises(ll.InvalidInput, match=said):
            call()
