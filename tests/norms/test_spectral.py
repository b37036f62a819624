"""Every norm errs the way it says, masked or not; the probabilistic one fails no more often than it may."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds import METHODS, AposterioriNorm, LanczosNorm, UpperNorm, exact_norm, torus_norm
from lliptools.nets import LinearMap
from lliptools.norms.aposteriori import bound_above
from lliptools.norms.krylov import ScaledMap

LAYERS = {
    "dense": (nn.Linear(20, 30), (20,)),
    "conv": (nn.Conv2d(2, 4, 3, padding=1), (2, 6, 7)),
    "strided": (nn.Conv2d(3, 4, 4, 2, 1), (3, 8, 8)),
    "circular": (nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"), (2, 6, 5)),
    "signal": (nn.Conv1d(3, 4, 5, 2, 2), (3, 11)),
    "pool after conv": (nn.Sequential(nn.Conv2d(1, 3, 3), nn.AvgPool2d(2)), (1, 8, 8)),
    "identity": (nn.Identity(), (7,)),
}


def linear_of(layer, shape):
    torch.manual_seed(0)
    net = nn.Sequential(layer, nn.ReLU()).double()
    with torch.no_grad():
        return ll.nets.read_blocks(net, torch.Size(shape))[0].linear


def masks(linear, count=6, seed=0):
    """Whole, half, nearly nothing, nothing, and soft slopes."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(count, *linear.out_shape, generator=generator, dtype=torch.float64)
    columns = torch.rand(count, *linear.in_shape, generator=generator, dtype=torch.float64)
    rows, columns = (rows > 0.5).double(), (columns > 0.5).double()
    rows[0], columns[0] = 1.0, 1.0
    rows[1], columns[2] = 0.0, 0.0
    rows[3].flatten()[1:] = 0.0
    rows[4], columns[4] = torch.rand(linear.out_shape, generator=generator), 0.25
    return rows, columns


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LAYERS)
def test_norms_under_masks_err_as_they_say(name, method):
    linear, norm = linear_of(*LAYERS[name]), METHODS[method]
    rows, columns = masks(linear)
    scaled = rows.flatten(1).sqrt()[:, :, None] * linear.weight * columns.flatten(1).sqrt()[:, None]
    truth = torch.linalg.matrix_norm(scaled, 2)
    found = norm(linear, rows, columns)
    assert found.shape == truth.shape
    if norm.kind in {"exact", "upper"}:
        assert (found >= truth * (1 - 1e-12)).all()
    if norm.kind == "exact":
        torch.testing.assert_close(found, truth)
    if norm.kind == "lower":
        assert (found <= truth * (1 + 1e-12)).all()
        assert (found[0] >= 0.6 * truth[0]).all()
    if method != "fft":  # which does not look at the masks
        assert (found[truth == 0] == 0).all()
    with ll.bounds.outward_rounding():
        wider = norm(linear, rows, columns)
    if norm.kind != "lower" and method not in {"aposteriori", "auto"}:  # whose starts differ
        assert (wider >= found).all()
        assert (wider <= found * (1 + 1e-10) + 1e-300).all()


@pytest.mark.parametrize("scale", [1e-5, 1e5])
@pytest.mark.parametrize("method", METHODS)
def test_small_and_large_weights(method, scale):
    linear = linear_of(*LAYERS["conv"])
    one = ll.spectral_norm(linear.weight, "exact").item()
    layer = nn.Conv2d(2, 4, 3, padding=1, bias=False).double()
    layer.weight.data = scale * linear.operators[0].weight.detach()
    found = ll.spectral_norm(layer, method, input_shape=(2, 6, 7)).item() / scale
    assert found == pytest.approx(one, rel=2 if method == "sums" else 0.15)
    assert found >= one * (1 - 1e-9) or METHODS[method].kind == "lower"


def test_known_sequences_of_power_and_gram_iteration():
    """diag(1, r): Gram iteration t gives (1 + r^(2^t))^(1/2^t) of the Gram matrix's Frobenius norms."""
    r = 0.9
    W = torch.diag(torch.tensor([1.0, r], dtype=torch.float64))
    for t in range(1, 6):
        wanted = (1 + r ** (2 ** (t + 1))) ** (1 / 2 ** (t + 1))
        assert ll.spectral_norm(W, "gram", steps=t).item() == pytest.approx(wanted, rel=1e-12)
    values = [ll.spectral_norm(W, "power", steps=k).item() for k in (1, 20, 400)]
    assert values[-1] == pytest.approx(1.0, abs=1e-12)
    assert max(values) <= 1 + 1e-15
    assert ll.spectral_norm(3.6e-162 * W, "power").item() <= 3.6e-162 * (1 + 1e-15)  # squares of which are next to 0


def test_a_reshaped_kernel_is_not_the_convolution():
    layer = nn.Conv2d(8, 8, 3, padding=1).double()
    reshaped = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    assert ll.spectral_norm(layer, input_shape=(8, 12, 12)) > 1.2 * reshaped


def krylov_by_hand(values, start, steps):
    """Lanczos on diag(values) in float64 with full reorthogonalisation twice."""
    v, basis, a, b = start / np.linalg.norm(start), [], [], []
    for _ in range(steps):
        basis.append(v)
        w = values * v
        a.append(v @ w)
        for _ in range(2):
            w = w - np.array(basis).T @ (np.array(basis) @ w)
        b.append(np.linalg.norm(w))
        v = w / max(b[-1], 1e-300)
    return a, b


@pytest.mark.slow
@pytest.mark.parametrize("spectrum", ["uniform", "clustered", "one above", "rank one"])
def test_the_probabilistic_bound_fails_no_more_often_than_it_may(spectrum):
    """δ = 0.05 over 4,000 random starts; at most 6 % may fail, which chance alone exceeds once in a thousand runs."""
    generator, n, delta = np.random.default_rng(0), 30, 0.05
    failures, total, loose = 0, 4000, []
    for _ in range(total):
        values = np.sort(generator.random(n)) ** 2
        if spectrum == "clustered":
            values = 1 - 0.01 * values
        if spectrum == "one above":
            values = np.append(0.5 * values[:-1], 1.0)
        if spectrum == "rank one":
            values = np.append(0 * values[:-1], 1.0)
        steps = 1 if spectrum == "rank one" else 3
        a, b = krylov_by_hand(values, generator.standard_normal(n), steps)
        bound = bound_above(np.array([a]), np.array([b]), np.array([float(n)]), delta)[0]
        failures += bound < values.max()
        loose.append(bound / values.max())
    assert failures / total <= 0.06
    assert np.median(loose) < 40  # and it is not vacuous after one to three steps


def test_the_claim_is_sharp_for_one_step():
    """|⟨z, v⟩| below its threshold, which alone can make the bound fail, is about as likely as δ says: for n = 2."""
    generator, delta = np.random.default_rng(1), 0.3
    failures = 0
    for _ in range(4000):
        values = np.array([0.0, 1.0])
        start = generator.standard_normal(2)
        c2 = start[1] ** 2 / (start @ start)
        failures += c2 < math.pi * delta**2 / 4
    assert failures / 4000 == pytest.approx(2 / math.pi * math.asin(math.sqrt(math.pi / 4) * delta), abs=0.02)
    assert values.max() == 1.0


def test_samples_stop_by_themselves(monkeypatch):
    """One sample of a diagonal with a gap, one without: the first is done long before the second."""
    easy = torch.cat([torch.ones(1), 0.1 * torch.rand(399)])
    hard = torch.linspace(0.9, 1.0, 400)
    sizes, forth = [], ScaledMap.forth
    monkeypatch.setattr(ScaledMap, "forth", lambda self, v: sizes.append(len(v)) or forth(self, v))
    slopes = torch.stack([easy, hard]).double()
    identity = LinearMap.dense(torch.eye(400, dtype=torch.float64))
    found = AposterioriNorm(tolerance=1e-4, steps=100)(identity, torch.ones(2, 400).double(), slopes**2)
    assert (found >= 1 - 1e-12).all()
    assert sizes[0] == 2
    assert sizes[-1] == 1


def test_a_large_layer_has_the_bound_and_not_the_ritz_value():
    linear, ones = LinearMap.dense(torch.eye(400, dtype=torch.float64)), torch.ones(1, 400).double()
    slopes = torch.linspace(0.8, 1.0, 400).double()[None]
    assert AposterioriNorm(tolerance=0.1).bracket(linear, ones, slopes)[0].item() < 1 - 1e-6
    assert UpperNorm(tolerance=0.1)(linear, ones, slopes).item() >= 1 - 1e-12


def test_samples_share_the_failure_probability():
    """A hundred samples, and the first of them alone with a hundredth of delta from the same start."""
    linear, slopes = LinearMap.dense(torch.eye(400, dtype=torch.float64)), torch.linspace(0.5, 1.0, 400).double()
    found = []
    for batch, delta in ((100, 1e-6), (1, 1e-8)):
        torch.manual_seed(0)
        norm, ones = AposterioriNorm(delta, tolerance=1e-12, steps=12), torch.ones(batch, 400).double()
        found.append(norm(linear, ones, slopes * ones)[0].item())
    assert found[0] == pytest.approx(found[1], rel=1e-9)


TORI = {
    "an image smaller than the kernel": (nn.Conv1d(1, 1, 3, padding=1, bias=False), [1.0, 0.0, -1.0], 2),
    "pixels that are repeated": (nn.Conv1d(1, 1, 1, padding=1, padding_mode="circular", bias=False), [1.0], 2),
    "holes and a stride": (nn.Conv1d(1, 1, 2, stride=2, dilation=2, bias=False), [1.0, 1.0], 9),
}


@pytest.mark.parametrize("name", TORI)
def test_tori_that_a_smaller_one_would_not_replace(name):
    layer, kernel, size = TORI[name]
    layer.double().weight.data.copy_(torch.tensor(kernel))
    linear = linear_of(layer, (1, size))
    ones = torch.ones(1, *linear.out_shape).double(), torch.ones(1, *linear.in_shape).double()
    assert torus_norm(linear, *ones).item() >= torch.linalg.matrix_norm(linear.weight, 2).item() * (1 - 1e-12)


def test_an_exhausted_space_does_not_explode():
    """Rank 2 and 400 columns: the Krylov space ends after three steps."""
    torch.manual_seed(0)
    W = torch.randn(500, 2, dtype=torch.float64) @ torch.randn(2, 400, dtype=torch.float64)
    truth = ll.spectral_norm(W, "exact").item()
    assert ll.spectral_norm(W, "lanczos").item() == pytest.approx(truth, rel=1e-9)
    # Nothing is known of what the start hardly touches, but for its probability.
    assert truth * (1 - 1e-12) <= ll.spectral_norm(W, "aposteriori").item() <= 1.01 * truth


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-250, 1e-170, 1e-35, 1e-30, 1e100, 1e160])
@pytest.mark.parametrize("method", ["auto", "aposteriori", "lanczos", "fft", "exact", "gram", "cholesky"])
def test_extreme_weights(method, scale):
    """A convolution whose matrix is too large for the exact norm under "auto"."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, padding=1, bias=False).double()
    one = ll.spectral_norm(layer, "exact", input_shape=(8, 9, 9)).item()
    layer.weight.data *= scale
    found = ll.spectral_norm(layer, method, input_shape=(8, 9, 9)).item() / scale
    assert found == pytest.approx(one, rel=0.05)
    assert found >= one * (1 - 1e-9) or METHODS[method].kind == "lower"


def test_saturated_units_between_large_layers():
    """Slopes of 1e-30 scale the norms down to where absolute thresholds would take them for nothing."""
    linear = linear_of(nn.Conv2d(8, 8, 3, padding=1), (8, 9, 9))
    rows, columns = (1e-40 * torch.rand(2, 8, 9, 9, dtype=torch.float64) for _ in range(2))
    truth = exact_norm(linear, rows, columns)
    assert (UpperNorm()(linear, rows, columns) >= truth * (1 - 1e-9)).all()
    assert (UpperNorm()(linear, rows, columns) <= truth * 1.01).all()


def test_a_certainty_beyond_float64_is_refused():
    linear = linear_of(*LAYERS["conv"])
    with pytest.raises(ll.InvalidInput, match="delta of at least"):
        AposterioriNorm(1e-15)(linear, *masks(linear))


def test_failure_probability_is_carried():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1), nn.ReLU(), nn.Flatten()
    )
    net.append(nn.Linear(2 * 26 * 26, 3))
    x = torch.rand(2, 1, 26, 26)
    bound = ll.local_bound(net, x, 0.05, norm=UpperNorm(1e-6))
    assert bound.kind == "upper"
    assert 0 < bound.failure_probability <= 1e-6
    assert "false with probability" in str(bound)
    assert ll.certify(net, x, torch.zeros(2, dtype=torch.int64), 0.01).bound.failure_probability <= 1e-9
    without = ll.local_bound(net, x, 0.05, norm=torus_norm)
    assert without.failure_probability == 0.0
    assert (bound.value <= without.value).all()
    linear = bound.blocks[1].linear
    assert UpperNorm().failure_probability(linear) == 1e-9
    assert UpperNorm().failure_probability(LinearMap.dense(torch.eye(3))) == 0.0


def test_gradient_of_the_estimate_is_the_gradient_of_the_norm():
    torch.manual_seed(0)
    linear = linear_of(*LAYERS["dense"])
    W = linear.operators[0].weight.detach().requires_grad_(True)
    rows, columns = masks(linear)
    with pytest.raises(ll.InvalidInput, match="a norm with a gradient"):
        AposterioriNorm()(LinearMap.dense(W), rows[:1], columns[:1])
    one, other = (
        torch.autograd.grad(norm(LinearMap.dense(W), rows[:1], columns[:1]).sum(), W)[0]
        for norm in (LanczosNorm(20), exact_norm)
    )
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_scaled_map_and_its_transpose():
    linear = linear_of(*LAYERS["conv"])
    scaled = ScaledMap(linear, *masks(linear))
    v, u = torch.randn(6, 84).double(), torch.randn(6, 168).double()
    torch.testing.assert_close((scaled.forth(v) * u).sum(dim=1), (v * scaled.back(u)).sum(dim=1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((nn.Linear(2, 2), "svd"), "method as one of"),
        ((nn.Conv2d(1, 2, 3),), "input_shape"),
        ((torch.zeros(2, 2, 3, 3),), "matrix"),
        ((torch.full((2, 2), torch.nan),), "finite"),
    ],
)
def test_bad_questions(arguments, said):
    with pytest.raises(ll.InvalidInput, match=said):
        ll.spectral_norm(*arguments)


def test_steps_belong_to_iterations():
    with pytest.raises(ll.InvalidInput, match="no steps"):
        ll.spectral_norm(nn.Linear(2, 2), "exact", steps=3)
    with pytest.raises(ll.UnsupportedLayer, match="activation"):
        ll.spectral_norm(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
