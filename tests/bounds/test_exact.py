"""The exact constant, held against sampling, against the other search and against what is known in closed form."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from networks import NETWORKS, PIECEWISE, in_ball, jacobians, points, random_mlp
from torch import nn

import lliptools as ll
from lliptools.bounds import adversarial_distance, exact_bound
from lliptools.bounds.exact_cells import cells
from lliptools.bounds.exact_patterns import patterns
from lliptools.bounds.pieces import Layer, read_layers
from lliptools.nets import read_blocks

ABOVE = 1 + 1e-9


def plane(*sizes, activation="relu", seed=0, factor=1.0):
    """A random float64 network of the plane, its biases spread so that lines cross the unit disc."""
    net = random_mlp(*sizes, activation=activation, seed=seed)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.bias.copy_(torch.randn_like(layer.bias))
        for parameter in net.parameters():
            parameter.mul_(factor)
    return net


def layers_with(rule, *sizes, seed=0):
    """Plain layers with another activation: rule(rows) -> breakpoints, slopes, values at 0."""
    random = np.random.default_rng(seed)
    layers = []
    for k, (columns, rows) in enumerate(pairwise(sizes)):
        weight, bias = random.normal(size=(rows, columns)), random.normal(size=rows)
        layers.append(Layer.of(weight, bias, *(rule(rows) if k < len(sizes) - 2 else ())))
    return layers


def leaky(rows):
    return np.zeros((1, rows)), np.array([[0.2], [1.0]]).repeat(rows, 1), np.zeros(rows)


def hardtanh(rows):
    return np.array([[-0.5], [1.0]]).repeat(rows, 1), np.array([[0.0], [1.0], [0.0]]).repeat(rows, 1), np.zeros(rows)


def evaluate(layers, h):
    """h (points, features) -> outputs and Jacobians, with plain arithmetic."""
    jacobian = np.eye(h.shape[1])[None]
    for layer in layers:
        z, jacobian = h @ layer.weight.T + layer.bias, layer.weight @ jacobian
        piece, units = (z[:, None] > layer.breakpoints).sum(axis=1), np.arange(z.shape[1])
        h = layer.slopes[piece, units] * z + layer.intercepts[piece, units]
        jacobian = layer.slopes[piece, units][:, :, None] * jacobian
    return h, jacobian


def norms(regions):
    maps = np.stack([region.map for region in regions])
    return np.sort(np.linalg.norm(maps[:, :, :-1], ord=2, axis=(1, 2)))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_fold(size, depth):
    """The product of the norms is 2^depth as soon as the ball reaches a fold; the constant stays 1."""
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [1.0, 1e-3, 1.0]], dtype=torch.float64)[:, :size]
    for eps in (0.0, 1e-12, 0.4, 0.51, 3.0, 1e3):
        bound = exact_bound(ll.nets.fold(size, depth), x, eps)
        assert bound.value.tolist() == pytest.approx([1.0] * 3, rel=1e-12)
        root = math.sqrt(2)
        assert bound.pairwise(torch.tensor([0, 0, 1]))[:, :2].flatten().tolist() == pytest.approx(
            [0, root, 0, root, root, 0], rel=1e-12
        )


def test_absolute_value():
    layer, last = nn.Linear(1, 2).double(), nn.Linear(2, 1).double()
    layer.weight.data, last.weight.data = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[1.0, 3.0]]).double()
    layer.bias.data.zero_()
    net = nn.Sequential(layer, nn.ReLU(), last)
    x = torch.tensor([[1.0], [1.0], [0.0], [-1.0]]).double()
    eps = torch.tensor([0.5, 1.5, 0.0, 0.5])
    assert exact_bound(net, x, eps).value.tolist() == pytest.approx([1.0, 3.0, 3.0, 3.0], rel=1e-12)


@pytest.mark.parametrize("name", PIECEWISE)
@pytest.mark.parametrize("eps", [0.0, 1e-12, 0.01, 0.1, 0.4])
def test_between_sampling_and_the_masks(name, eps):
    net = NETWORKS[name]()
    x = points(net, 3)
    exact, local = exact_bound(net, x, eps), ll.local_bound(net, x, eps)
    assert exact.kind == "upper"
    assert (exact.value <= local.value * ABOVE).all()
    y = torch.tensor([0, 1, 2])
    between_classes = exact.pairwise(y)
    assert (between_classes <= local.pairwise(y) * ABOVE).all()
    assert (between_classes.gather(1, y[:, None]) == 0).all()
    for index, point in enumerate(x):
        found = jacobians(net.double(), in_ball(point, eps, 150)) if eps > 1e-12 else None
        if found is not None:
            assert (torch.linalg.matrix_norm(found, ord=2) <= exact.value[index] * ABOVE).all()
            between = (found[:, y[index], None] - found).norm(dim=2).amax(dim=0)
            assert (between <= between_classes[index] * ABOVE).all()


@pytest.mark.parametrize("activation", ["relu", "clipped_relu"])
@pytest.mark.parametrize("eps", [0.0, 1e-12, 0.05, 0.5, 1e3])
def test_the_two_searches_agree_and_sampling_finds_the_same_regions(activation, eps):
    for seed in range(3):
        net = plane(2, 8, 6, 3, activation=activation, seed=seed)
        layers, x = read_layers(read_blocks(net, torch.Size([2]))), np.array([0.3, -0.2])
        one = norms(cell.affine for cell in cells(layers, x, eps, 20_000))
        other = norms(patterns(layers, x, eps, 20_000))
        assert len(one) == len(other)
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
        samples = in_ball(torch.tensor(x), eps, 4000)
        if eps == 0.5:
            seen = torch.linalg.matrix_norm(jacobians(net, samples), ord=2).detach().numpy()
            assert np.abs(seen[:, None] - one).min(axis=1).max() <= 1e-9 * one.max()
            assert len(np.unique(seen.round(9))) >= 0.8 * len(np.unique(one.round(9)))
            assert seen.max() >= 0.99 * one.max()


@pytest.mark.parametrize("rule", [leaky, hardtanh])
def test_other_activations(rule):
    layers, x = layers_with(rule, 2, 9, 7, 3), np.array([0.1, 0.4])
    found = cells(layers, x, 0.7, 20_000)
    assert norms(cell.affine for cell in found) == pytest.approx(norms(patterns(layers, x, 0.7, 20_000)), rel=1e-9)
    inside = np.array([np.mean(cell.polygon, axis=0) for cell in found])
    outputs, slopes = evaluate(layers, x + 0.7 * inside)
    for cell, u, output, jacobian in zip(found, inside, outputs, slopes, strict=True):
        whole = cell.affine.map
        assert whole[:, :-1] == pytest.approx(jacobian, abs=1e-9)
        assert whole[:, :-1] @ (0.7 * u) + whole[:, -1] == pytest.approx(output, abs=1e-9)


def test_pieces_of_an_activation():
    """Equal and infinite breakpoints, breakpoints where nothing breaks, and values that do not start at 0."""
    z = torch.linspace(-4, 4, 41).double()
    for low, high in ((-1.0, 2.0), (0.5, 2.0), (-3.0, -1.0), (-math.inf, 0.0), (0.0, math.inf)):
        breakpoints, slopes = np.array([[low], [high]]), np.array([[0.0], [1.0], [0.0]])
        at_zero = np.array([min(max(0.0, low), high)])
        layer = Layer.of(np.ones((1, 1)), np.zeros(1), breakpoints, slopes, at_zero)
        output, _ = evaluate([layer], z[:, None].numpy())
        assert output[:, 0] == pytest.approx(z.clamp(low, high).numpy(), abs=1e-12)
    dead = Layer.of(np.ones((1, 1)), np.zeros(1), np.zeros((2, 1)), np.array([[0.0], [1.0], [0.0]]))
    assert dead.breakpoints.shape == (0, 1)
    assert dead.slopes.tolist() == [[0.0]]


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_scaled_networks(factor):
    """Without biases a ReLU network scaled layer by layer is the same function times the product of the scales."""
    net, x = plane(2, 8, 6, 3, factor=0.0), torch.tensor([[0.3, -0.2]]).double()
    with torch.no_grad():
        for layer in (net[0], net[2], net[4]):
            layer.weight.normal_()
        before = exact_bound(net, x, 0.2).value.item()
        for layer in (net[0], net[2], net[4]):
            layer.weight.mul_(factor)
    assert exact_bound(net, x, 0.2).value.item() == pytest.approx(before * factor**3, rel=1e-9)


def test_more_of_the_plane_never_has_a_smaller_constant():
    net, x = plane(2, 10, 8, 3, activation="clipped_relu"), torch.tensor([[0.3, -0.2]]).double()
    values = [exact_bound(net, x, eps).value.item() for eps in (0.0, 1e-12, 1e-3, 0.1, 0.3, 1.0, 3.0, 1e3)]
    assert all(one <= other * ABOVE for one, other in pairwise(values))
    assert exact_bound(net, x.expand(2, 2), torch.tensor([0.1, 1.0])).value.tolist() == [values[3], values[5]]


def test_a_radius_below_the_spacing_of_the_numbers_is_not_rounded_away():
    """The unit breaks at 1, within rounding of the centre: both sides count, whichever is the right one."""
    layer, last = nn.Linear(3, 1).double(), nn.Linear(1, 2).double()
    layer.weight.data, layer.bias.data = torch.tensor([[1.0, 0.0, 0.0]]).double(), torch.tensor([-1.0]).double()
    last.weight.data = torch.tensor([[1e20], [0.0]]).double()
    net = nn.Sequential(layer, nn.ReLU(), last)
    for first in (1.0, 1.0 - 1e-16):
        x = torch.tensor([[first, 0.0, 0.0]]).double()
        for eps in (0.0, 1e-17, 1e-300):
            assert exact_bound(net, x, eps).value.item() == pytest.approx(1e20)


@pytest.mark.parametrize("features", [2, 3])
@pytest.mark.parametrize(("start", "leak"), [(-100.2, 0.5), (100.2, 3.0)])
def test_a_plane_that_rounding_puts_outside_of_the_ball(start, leak, features):
    """±100.2 exactly, which comes out as ±100.25 in some order of summation; beyond 0 the unit is steeper."""
    moved, reached, x = 0, 100.22, torch.ones(1, features).double()
    for row in permutations([1e15, start, -1e15]):
        layer = nn.Linear(features, 1).double()
        layer.weight.data = torch.tensor([row[:features]], dtype=torch.float64)
        layer.bias.data = torch.tensor(row[features:] or [0.0], dtype=torch.float64)
        steep = layer.weight.norm().item()
        moved += abs(layer(x).item()) > reached
        value = exact_bound(nn.Sequential(layer, nn.LeakyReLU(leak)), x, reached / steep).value.item()
        assert value == pytest.approx(max(1.0, leak) * steep)
    assert moved


@pytest.mark.slow
def test_certificates_take_it_and_reach_further():
    net, split = ll.nets.load("moons"), ll.training.moons()
    x, y = split.x_test[:5], split.y_test[:5]
    local = ll.certified_radius(net, x, y, tolerance=1e-3)
    exact = ll.certified_radius(net, x, y, bound=exact_bound, tolerance=1e-3)
    distance, _ = adversarial_distance(net, x, y, 3.0)
    assert (local <= exact * (1 + 1e-3)).all()
    assert (exact <= distance).all()
    assert exact.mean() > 1.1 * local.mean()


def test_adversarial_distance():
    for seed in range(4):
        net = plane(2, 10, 8, 3, activation=("relu", "clipped_relu")[seed % 2], seed=seed)
        with torch.no_grad():
            net[-1].bias -= net(torch.randn(500, 2).double()).mean(dim=0)
        x = torch.randn(5, 2).double()
        y = net(x).argmax(dim=1)
        y[0] = (y[0] + 1) % 3
        distance, nearest_one = adversarial_distance(net, x, y, 2.0)
        assert distance[0] == 0
        assert distance[1:].isfinite().any()
        for index in range(1, 5):
            inner = min(distance[index].item(), 2.0) * (1 - 1e-9)
            assert (net(in_ball(x[index], inner, 3000)).argmax(dim=1) == y[index]).all()
            if distance[index].isinf():
                assert nearest_one[index].isnan().all()
                continue
            logits = net(nearest_one[index : index + 1])[0]
            others = logits[torch.arange(3) != y[index]]
            assert (logits[y[index]] - others.max()).abs() <= 1e-9 * logits.abs().max()
            ring = in_ball(nearest_one[index], 1e-6 * distance[index].item(), 2000)
            assert (net(ring).argmax(dim=1) != y[index]).any()


def test_a_search_that_would_not_finish_says_how_many_units_are_unstable():
    net, x = plane(2, 30, 30, 3), torch.zeros(1, 2).double()
    with pytest.raises(ll.InvalidInput, match=r"40 cells.*unstable units in the ball of radius 3 around point 0"):
        exact_bound(net, x, 3.0, max_cells=40)
    net, x = random_mlp(5, 16, 16, 3), torch.zeros(2, 5).double()
    with pytest.raises(ll.InvalidInput, match=r"50 branches.*more than that, with \d+ unstable units"):
        exact_bound(net, x, 3.0, max_patterns=50)


def test_what_it_does_not_take():
    net, x = random_mlp(3, 4, 2), torch.zeros(1, 3).double()
    with pytest.raises(ll.InvalidInput, match="a finite radius"):
        exact_bound(net, x, math.inf)
    with pytest.raises(ll.InvalidInput, match="two features"):
        adversarial_distance(net, x, torch.tensor([0]), 1.0)
    with pytest.raises(ll.UnsupportedLayer, match="Tanh"):
        exact_bound(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), x, 0.1)
    net[0].weight.data.fill_(1e-300)
    with pytest.raises(ll.InvalidInput, match="products of weights"):
        exact_bound(net, x, 0.1)


def test_table():
    assert str(exact_bound(ll.nets.fold(2, 1), torch.ones(1, 2), 3.0)) == (
        "exact constant 1 at eps = 3, from 4 regions"
    )
    assert "mean over 2 points" in str(exact_bound(ll.nets.fold(2, 1), torch.ones(2, 2), 0.1))
