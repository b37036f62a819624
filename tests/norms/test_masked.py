import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lliptools.bounds import exact_norm, outward_rounding, round_up
from lliptools.nets import LinearMap
from lliptools.nets.rows import row_distances, row_norms


def linear(weight):
    return LinearMap.dense(weight)


@settings(max_examples=60)
@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 10_000), soft=st.booleans())
def test_exact_norm_agrees_with_a_singular_value_decomposition(rows, columns, seed, soft):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    slopes = [torch.rand(7, size, generator=generator, dtype=torch.float64) for size in (rows, columns)]
    row_slope, column_slope = slopes if soft else [slope.round() for slope in slopes]
    masked = row_slope.sqrt()[:, :, None] * weight * column_slope.sqrt()[:, None]
    wanted = np.linalg.norm(masked.numpy(), ord=2, axis=(1, 2))
    found = exact_norm(linear(weight), row_slope, column_slope).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-12)


def test_nothing_left_has_norm_zero():
    weight = torch.ones(3, 2, dtype=torch.float64)
    none, every = torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    assert exact_norm(linear(weight), none, every).tolist() == [0.0]
    assert exact_norm(linear(0 * weight), none + 1, every).tolist() == [0.0]


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-5, 1e5, 1e200, 1e300])
def test_scale(scale):
    weight = scale * torch.tensor([[3.0, 0.0], [0.0, -4.0]], dtype=torch.float64)
    ones = torch.ones(1, 2, dtype=torch.float64)
    assert exact_norm(linear(weight), ones, ones).item() == pytest.approx(4 * scale, rel=1e-12)
    assert row_norms(linear(weight), ones).tolist()[0] == pytest.approx([3 * scale, 4 * scale], rel=1e-12)
    assert row_distances(linear(weight), torch.tensor([0]), ones).tolist()[0] == pytest.approx(
        [0, 5 * scale], rel=1e-12
    )


@given(st.floats(0, 1e300), st.integers(1, 8))
@example(1e-05, 4)
def test_rounded_up_is_never_below(value, digits):
    printed = float(round_up(value, digits))
    assert printed >= value
    assert printed <= value * (1 + 1.001 * 10.0 ** (1 - digits)) + 1e-300


@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e160])
@pytest.mark.parametrize("root", [1.0, 1e-120])
@pytest.mark.parametrize("tiny", [1.0, 1e-120])
def test_one_gram_matrix_for_a_batch_that_keeps_all_columns(scale, root, tiny):
    """The first layer of every network; rows that are tiny beside others are not lost."""
    generator = torch.Generator().manual_seed(0)
    weight = scale * torch.randn(12, 30, generator=generator).double()
    weight[3] *= tiny
    weight[7] = 0.0
    layer = linear(weight)
    rows = torch.rand(40, 12, generator=generator).double() * (torch.rand(40, 12, generator=generator) < 0.5)
    rows[0], rows[1] = 0.0, 0.0
    rows[1, 3], rows[2], rows[2, 7] = 1.0, torch.zeros(12).double(), 1.0
    rows = rows * root**2
    columns = torch.ones(40, 30).double()
    for outward in (False, True):
        with outward_rounding(outward):
            found = exact_norm(layer, rows, columns)
            alone = torch.cat([exact_norm(layer, rows[k : k + 1], columns[:1]) for k in range(40)])
        truth = torch.linalg.matrix_norm(rows.sqrt()[:, :, None] / root * weight / scale, 2)
        assert torch.allclose(found, alone, rtol=1e-10, atol=1e-305)
        kept = truth > 1e-100
        assert torch.allclose(found[kept] / root / scale, truth[kept], rtol=1e-10, atol=0)
        assert (found[[0, 2]] <= 1e-300).all()
        if outward:
            assert (found / root >= truth * scale).all()
