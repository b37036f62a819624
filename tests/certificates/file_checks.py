"""What a certificate file says, held against points of its balls and against the exact distance."""

import copy
import json
from decimal import Decimal

import numpy as np
import torch
from torch import nn

import lliptools as ll
from lliptools.certificates import files as certificate_files
from lliptools.checker import Refused, check


def numbers(text):
    """The file with Decimals for numbers."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def as_text(file):
    return certificate_files.spelled(file)


def is_refused(file):
    try:
        check(file if isinstance(file, str) else as_text(file))
    except Refused:
        return True
    return False


def torch_net(network):
    """The network of a file, as float64 has it."""
    layers = []
    for layer in network:
        linear = nn.Linear(len(layer["weight"][0]), len(layer["weight"])).double()
        linear.weight.data = torch.tensor([[float(w) for w in row] for row in layer["weight"]], dtype=torch.float64)
        linear.bias.data = torch.tensor([float(b) for b in layer["bias"]], dtype=torch.float64)
        layers.append(linear)
        if layer["theta"]:
            theta = [float("inf") if top is None else float(top) for top in layer["theta"]]
            layers.append(ll.nets.ClippedReLU(torch.tensor(theta, dtype=torch.float64)))
    return nn.Sequential(*layers)


def in_ball(x, eps, count=4000, seed=0):
    """Points of the ball and of its sphere: (count, features)."""
    generator = np.random.default_rng(seed)
    moves = generator.normal(size=(count, len(x)))
    moves /= np.linalg.norm(moves, axis=1, keepdims=True)
    moves[::2] *= generator.random((len(moves[::2]), 1))
    return x + eps * np.concatenate([0 * moves[:1], moves])


def array(values):
    return np.array([np.inf if value is None else float(value) for value in values])


def false_statement(file):
    """A statement of the file that points of its balls refute, in plain floats; None where none is found."""
    for point in file["points"]:
        x, eps, label = array(point["x"]), float(point["eps"]), int(point["label"])
        h = in_ball(x, eps)
        columns = np.full(len(x), True)
        for layer, step in zip(file["network"], point["hidden"], strict=False):
            W, theta = np.array([array(row) for row in layer["weight"]]), array(layer["theta"])
            z = h @ W.T + array(layer["bias"])
            size = 1e-9 * (1 + abs(z).max())
            if not (
                (array(step["lower"]) <= z.min(0) + size).all() and (z.max(0) - size <= array(step["upper"])).all()
            ):
                return "box"
            h = np.clip(z, 0, np.maximum(theta, 0))
            rows = np.array(step["varies"], dtype=bool)
            if not (np.ptp(h, axis=0)[~rows] <= size).all():
                return "varies"
            masked = W[rows][:, columns]
            if masked.size and not np.linalg.norm(masked, 2) <= float(step["norm"]) * (1 + 1e-9):
                return "norm"
            if not np.linalg.norm(h - h[0], axis=1).max() <= float(step["radius"]) * (1 + 1e-9) + size:
                return "radius"
            columns = rows
        last = file["network"][-1]
        f = h @ np.array([array(row) for row in last["weight"]]).T + array(last["bias"])
        margins = f[:, [label]] - np.delete(f, label, axis=1)
        if not (margins.min(0) >= array(point["margins"]) - 1e-9 * (1 + abs(f).max())).all():
            return "margins"
        if not (array(point["margins"]) > 0).all():
            return "margins above 0"
    return None


def exact_distance(file, k=0):
    """How far from point k of the plane a margin first falls to what the file claims, by a search of all regions."""
    point, network = file["points"][k], copy.deepcopy(file["network"])
    label = int(point["label"])
    others = [j for j in range(len(network[-1]["bias"])) if j != label]
    for j, margin in zip(others, point["margins"], strict=True):
        network[-1]["bias"][j] += margin
    x = torch.tensor([[float(v) for v in point["x"]]], dtype=torch.float64)
    within = 1.5 * float(point["eps"]) + 1e-6
    return ll.bounds.adversarial_distance(torch_net(network), x, torch.tensor([label]), within)[0].item()
