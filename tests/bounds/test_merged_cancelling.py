"""The merged bounds enclose their own rounding on random networks that cancel, against rational arithmetic."""

import pytest
from cancelling import cancelling
from enclosed import check


@pytest.mark.slow
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("kind", ["relu", "leaky", "hard", "clipped", "maxmin", "residual", "straight"])
def test_networks_that_cancel(kind, features):
    for seed in range(4):
        check(*cancelling(seed, kind, features))
