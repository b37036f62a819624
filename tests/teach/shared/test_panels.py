"""What reaches the browser: numbers, and None where there is none."""

import json
from math import inf, nan

import numpy as np

import lliptools as ll
from lliptools.teach.shared.panels import Panels
from lliptools.teach.shared.words import shortened


def test_what_is_not_finite_becomes_none():
    panels = Panels(100)
    panels.open((0, 1), (0, 1), "", {}, {})
    panels.add("heatmap", z=np.array([[1.0, nan], [inf, 2.0]]))
    panels.line([0.0, nan], np.array([1.0, 2.0]))
    heat, line = panels.figure().data
    assert [list(row) for row in heat.z] == [[1.0, None], [None, 2.0]]
    assert list(line.x) == [0.0, None]
    assert list(line.y) == [1.0, 2.0]


def test_the_state_of_an_explorer_is_json():
    digits = ll.training.digits()
    nets = {"mine": ll.nets.load("digits-0.5-sparse")}
    explorer = ll.teach.AccuracyExplorer(nets, digits.x_test[:5], digits.y_test[:5], eps_max=1.0)
    json.dumps(explorer.figure.to_plotly_json(), allow_nan=False, default=lambda array: array.tolist())


def test_no_text_at_a_point_is_empty():
    """Plotly leaves out what is empty, and does not write there when it is redrawn with a text."""
    panels = Panels(100)
    panels.open((0, 1), (0, 1), "", {}, {})
    panels.texts([0, 1], [0, 1], ["", "here"])
    assert panels.figure().data[0].text == (" ", "here")


def test_a_name_that_is_long_loses_its_middle():
    assert [shortened(name, 6) for name in ("short", "longer", "network 1", "network 2")] == [
        "short",
        "longer",
        "net… 1",
        "net… 2",
    ]


def test_a_hatch_lies_over_the_colour_of_its_bar():
    """In plotly's other mode the bar is white below it."""
    panels = Panels(100)
    panels.open((0, 1), (0, 1), "", {}, {})
    panels.bars([0], [1.0], "#009E73", "/")
    (bar,) = panels.figure().data
    assert (bar.marker.color, bar.marker.pattern.fillmode) == ("#009E73", "overlay")
    assert bar.marker.pattern.bgcolor is None
