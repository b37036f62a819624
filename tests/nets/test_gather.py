"""Moves of entries that are read off what they do to numbers."""

import pytest
import torch
from torch import nn

from lliptools.nets.operators import selection


def test_what_is_neither_an_input_nor_0_is_refused():
    """As memory that torch leaves as it is where a circular border is cut and repeated at once."""
    for fill in (0.5, 7.0, -1.0, torch.nan):
        with pytest.raises(ValueError, match="neither an input nor 0"):
            selection(nn.ConstantPad1d(1, fill), (1, 4), torch.float64)
    assert selection(nn.ConstantPad1d(1, 0.0), (1, 4), torch.float64).out_shape == (1, 6)
