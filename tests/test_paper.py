"""The library against the theorem in its plainest form."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools import paper
from lliptools.nets import ClippedReLU

WIDTHS = [(3, 2), (4, 7, 3), (2, 9, 8, 2), (5, 6, 6, 6, 4)]


def network(widths, thetas, seed):
    torch.manual_seed(seed)
    linear = [nn.Linear(*pair) for pair in pairwise(widths)]
    layers = [linear[0]]
    for theta, following in zip(thetas, linear[1:], strict=True):
        finite = torch.is_tensor(theta) or theta < math.inf
        layers += [ClippedReLU(theta) if finite else nn.ReLU(), following]
    return (
        nn.Sequential(*layers).double(),
        [each.weight.detach() for each in linear],
        [each.bias.detach() for each in linear],
    )


SLOW = [pytest.param(eps, marks=pytest.mark.slow) for eps in (0.0, 1e-3, 4.0)]


@pytest.mark.parametrize("eps", [0.1, 0.7, *SLOW])
@pytest.mark.parametrize("theta", [math.inf, 1.0, 0.2, "each"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_local_bound_is_the_paper_s(widths, theta, eps):
    for seed in range(4):
        hidden = widths[1:-1]
        if theta == "each":
            thetas = given = [torch.rand(width, dtype=torch.float64) + 0.1 for width in hidden]
        else:
            thetas, given = [theta] * len(hidden), theta
        net, weights, biases = network(widths, thetas, seed)
        for x in torch.randn(5, widths[0], dtype=torch.float64):
            value, masks = paper.local_bound(weights, biases, given, x, eps)
            found = ll.local_bound(net, x[None], eps)
            assert value.item() == pytest.approx(found.value.item(), rel=1e-9)
            for mask, block in zip(masks, found.blocks[:-1], strict=True):
                assert torch.equal(mask, block.slope[0] > 0)


def test_it_is_one_page():
    assert len(Path(paper.__file__).read_text().splitlines()) <= 60
