"""What the exact search is made of: polygons, half-spaces and the points closest in them, affine maps."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from networks import jacobians, random_mlp

from lliptools.bounds.affine import Affine
from lliptools.bounds.exact_cells import clip, clip_error, nearest
from lliptools.bounds.exact_patterns import point_in
from lliptools.bounds.pieces import read_layers
from lliptools.nets import forward, read_blocks


def test_polygons():
    square = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    half = clip(square, 1.0, 0.0, -0.5)
    assert sorted(half) == [(0.5, -1.0), (0.5, 1.0), (1.0, -1.0), (1.0, 1.0)]
    assert nearest(half) == (0.5, 0.0)
    assert sorted(np.abs(nearest(square)).tolist()) == [0.0, 1.0]  # of its edges, around the origin
    assert clip(square, 1.0, 0.0, -1.5) == []
    assert nearest([(1.0, 1.0)]) == (1.0, 1.0)
    assert nearest([(1.0, 1.0), (1.0, -1.0)]) == (1.0, 0.0)


def test_a_point_on_all_sides_is_never_clipped_away():
    """Lines that pass a point by rounding only, many times over: it stays in the polygon that is kept."""
    draw = random.Random(0)
    for _ in range(60):
        inside = [draw.uniform(-0.6, 0.6) for _ in range(2)]
        polygon = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
        for clips in range(150):
            angle = draw.uniform(0, 2 * math.pi) if draw.random() < 0.5 else 0.7 + draw.uniform(-1e-15, 1e-15)
            normal = [math.cos(angle), math.sin(angle)]
            exact = sum(Fraction(a) * Fraction(u) for a, u in zip(normal, inside, strict=True))
            offset = float(-exact) + draw.choice([0.0, 1e-16, 1e-12, 1e-3])
            while Fraction(offset) < -exact:
                offset = math.nextafter(offset, math.inf)
            assert max(normal[0] * u + normal[1] * v + offset for u, v in polygon) >= -clip_error(clips)
            polygon = clip(polygon, *normal, offset + clip_error(clips))
            assert polygon
            away = [(u - inside[0], v - inside[1]) for u, v in polygon]
            assert math.hypot(*nearest(away)) <= 2


def test_least_distance():
    """Half-spaces of known distance: just inside the ball, just outside, and none in common."""
    origin, axis = np.zeros(3), np.eye(3)[:1]
    assert point_in(axis, np.array([-0.999]), origin) == pytest.approx([0.999, 0, 0], rel=1e-9)
    assert point_in(axis, np.array([-1.001]), origin) is None
    assert point_in(np.vstack([axis, -axis]), np.array([-0.2, 0.1]), origin) is None
    corner = point_in(np.eye(3), np.array([-0.5, -0.5, -0.5]), origin)
    assert corner == pytest.approx([0.5, 0.5, 0.5], rel=1e-9)
    assert point_in(np.eye(3), np.array([-0.6, -0.6, -0.6]), origin) is None


def test_no_proof_against_a_point_that_is_there():
    """Half-spaces whose boundaries pass through one point of the unit sphere, to within rounding."""
    draw = random.Random(0)
    for _ in range(400):
        features = draw.choice([2, 3, 5])
        point = [draw.gauss(0, 1) for _ in range(features)]
        point = [value / math.hypot(*point) for value in point]
        while sum(Fraction(value) ** 2 for value in point) > 1:
            point = [value * (1 - 2.0**-53) for value in point]
        normals, offsets = [], []
        for _ in range(draw.randint(1, 40)):
            normal = [value + draw.choice([0.0, 1e-9, 1e-3, 1.0]) * draw.gauss(0, 1) for value in point]
            normal = [value / math.hypot(*normal) for value in normal]
            exact = sum(Fraction(a) * Fraction(u) for a, u in zip(normal, point, strict=True))
            offset = float(-exact)
            while Fraction(offset) < -exact:
                offset = math.nextafter(offset, math.inf)
            normals.append(normal)
            offsets.append(offset)
        origin = np.zeros(features)
        assert point_in(np.array(normals), np.array(offsets), origin) is not None
        assert point_in(np.array([point]), np.array([-1 - 1e-12]), origin) is None


def test_affine_maps_follow_the_network():
    net = random_mlp(4, 9, 7, 3, activation="clipped_relu")
    blocks = read_blocks(net, torch.Size([4]))
    x = torch.randn(1, 4).double()
    affine = Affine.start(x[0].numpy())
    for layer in read_layers(blocks):
        affine = affine.linear(layer)
        affine = affine.activate(layer, (affine.map[:, -1] > layer.breakpoints).sum(axis=0))
    assert affine.map[:, -1] == pytest.approx(forward(blocks, x)[0].detach().numpy(), rel=1e-12)
    assert affine.map[:, :-1] == pytest.approx(jacobians(net, x)[0].detach().numpy(), rel=1e-12)
