"""What is said of unstable units holds in rational arithmetic."""

from fractions import Fraction

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds import outward_rounding
from lliptools.certificates.quadratic import Sample
from lliptools.norms.rounding import inflated


def dot(row, values):
    return sum(a * b for a, b in zip(row, values, strict=True))


def exact_values(net, x):
    """Pre-activations and outputs of every hidden layer of a ReLU network, in rational arithmetic."""
    values, layers = [Fraction(number) for number in x.tolist()], []
    for layer in [part for part in net if isinstance(part, nn.Linear)][:-1]:
        rows, bias = layer.weight.tolist(), layer.bias.tolist()
        z = [
            sum((Fraction(w) * h for w, h in zip(row, values, strict=True)), Fraction(b))
            for row, b in zip(rows, bias, strict=True)
        ]
        values = [max(number, Fraction(0)) for number in z]
        layers.append((z, values))
    return layers


@pytest.mark.parametrize("large", [1.0, 1e4, 1e8])
def test_the_products_hold_in_rational_arithmetic(large):
    """All that is said of a unit, at points a few units in the last place away: with weights of 1e8, rounding rules."""
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.rand(2, generator=generator).double() + 1, 2.0**-47 if large > 1 else 0.3
    net = nn.Sequential(nn.Linear(2, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        for layer in (net[0], net[2], net[4]):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        net[0].weight *= large
        net[0].bias.copy_(-(net[0].weight @ x) + eps * large * torch.randn(7, generator=generator))
        net[2].bias.copy_(-(net[2].weight @ net[:2](x)))
        with outward_rounding():
            blocks = ll.tightest_bound(net, x[None], eps, centred=True).blocks
            sample = Sample.of(list(blocks[:-1]), x[None], torch.tensor([eps], dtype=torch.float64))
            scales = [inflated(block.output.upper - block.output.lower)[0].tolist() for block in blocks[:-1]]
        unstable = [(block.box.lower[0] < 0) & (block.box.upper[0] > 0) for block in blocks[:-1]]
        rows = [[Fraction(number) for number in row] for row in sample.products.rows.tolist()]
        state = [[Fraction(number) for number in row] for row in sample.hidden.state.tolist()]
        there, count = exact_values(net, x), 0
        for other in x + (eps * (2 * torch.rand(60, 2, generator=generator).double() - 1)):
            move = [Fraction(a) - Fraction(b) for a, b in zip(other.tolist(), x.tolist(), strict=True)]
            if sum(number**2 for number in move) > Fraction(eps) ** 2:
                continue
            here, count = exact_values(net, other), count + 1
            moves = [[a - b for a, b in zip(one[1], two[1], strict=True)] for one, two in zip(here, there, strict=True)]
            v = [number / Fraction(eps) for number in move]
            for layer, mask in enumerate(unstable):
                v += [moves[layer][j] / Fraction(scales[layer][j]) for j in mask.nonzero()[:, 0].tolist()]
            functions = [dot(row, [1, *v]) for row in rows]
            for k, (a, b) in enumerate(zip(sample.products.left.tolist(), sample.products.right.tolist(), strict=True)):
                d, e = sample.error[a].item(), sample.error[b].item()
                product, lacking = functions[a] * functions[b], Fraction(d + e + d * e)
                assert product >= -lacking
                assert abs(product) <= lacking or not sample.products.equal[k]
                assert -d <= functions[a] <= 1 + d
                assert -e <= functions[b] <= 1 + e
            for row, off, moved in zip(state, sample.hidden.off.tolist(), moves[-1], strict=True):
                assert abs(dot(row, v) - moved) <= Fraction(off)
    assert count > 20
    assert len(sample.products.left) > 9
