"""The canvas of weight matrices, as it is told to the browser."""

import numpy as np
import pytest
import torch

import lliptools as ll
from lliptools.teach.shared.controls import slider
from lliptools.teach.shared.striking import Striking
from lliptools.teach.shared.style import canvas_colors

WEIGHTS = [torch.arange(6.0).reshape(3, 2), -torch.ones(4, 3), torch.ones(2, 4)]


def test_matrices_and_states_are_bytes():
    shown = Striking(WEIGHTS)
    assert shown.shapes == [(3, 2), (4, 3), (2, 4)]
    assert np.frombuffer(shown.values, np.float32).tolist() == torch.cat([w.flatten() for w in WEIGHTS]).tolist()
    assert set(shown.states) == {3}
    shown.show([torch.tensor([0, 1, 2]), torch.tensor([3, 2, 1, 0])])
    assert list(shown.states) == [0, 1, 2, 3, 2, 1, 0]
    shown.update([2 * w for w in WEIGHTS])
    assert np.frombuffer(shown.values, np.float32)[5] == 10


def test_states_for_all_positions_of_a_slider():
    eps = slider("ε", "radius", 0.0, 1.0, 0.5, 0.0)
    shown = Striking(WEIGHTS, slider=eps)
    first, second = torch.tensor([[0, 0, 0], [2, 0, 0], [2, 2, 2]]), torch.full((3, 4), 3)
    shown.show([first, second], [0.0, 0.5, 1.0])
    assert (shown.followed, shown.positions) == ([eps], [0.0, 0.5, 1.0])
    assert list(shown.states) == [0, 0, 0, 3, 3, 3, 3, 2, 0, 0, 3, 3, 3, 3, 2, 2, 2, 3, 3, 3, 3]


def test_one_matrix_and_matrices_that_do_not_follow():
    assert Striking([torch.ones(2, 3)]).states == b""
    with pytest.raises(ll.InvalidInput, match="columns of the next"):
        Striking([torch.ones(2, 3), torch.ones(2, 3)])


def test_light_and_dark_are_told_apart_by_lightness():
    def grey(color):
        return np.dot([int(color[k : k + 2], 16) for k in (1, 3, 5)], (0.3, 0.59, 0.11))

    light, dark = canvas_colors()
    assert (np.diff([grey(color) for color in light["weights"]]) > 20).all()
    assert grey(light["masked"]) > 200 > 60 > grey(dark["masked"])
