"""Norms of rows: what is not a number stays none."""

import math

import pytest
import torch

from lliptools.nets import LinearMap
from lliptools.nets.rows import row_norms


@pytest.mark.parametrize("entry", [1.0, 1e-170])
@pytest.mark.parametrize("slopes", [[math.nan, 0.0], [math.nan, 1e-200], [math.nan, 1.0]])
def test_a_slope_that_is_nan_counts_as_no_zero(entry, slopes):
    linear = LinearMap.dense(torch.tensor([[entry, 0.0], [entry, entry]], dtype=torch.float64))
    assert row_norms(linear, torch.tensor([slopes], dtype=torch.float64)).isnan().all()
