"""The pages of the gallery: of the engine's numbers, in colours that can be told apart."""

import base64
import json
import re

import plotly.graph_objects as go
import pytest
import torch
from pictures import unpack
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app
from lliptools.teach.explorers.neurons.figure import neurons
from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.publish import gallery
from lliptools.teach.shared.style import CERTIFIED, INK, REFUTED, STATES, TINTS, UNPROVED, WEIGHTS, dark, dark_color
from lliptools.teach.shared.transport import parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    gallery.write(folder, ["neurons-digits"])
    return folder


def inside(path, name):
    return re.search(rf'id="{name}">(.*?)</script>', path.read_text(), re.S)[1]


def test_a_page_says_what_the_engine_says(folder):
    pictures = unpack(base64.b64decode(inside(folder / "neurons-digits.html", "parcel")))
    data = ll.training.digits()
    radii = torch.arange(101, dtype=torch.float64) * 0.004
    view = NeuronView(ll.nets.load("digits-clipped"), data.x_test[3], int(data.y_test[3]), radii)
    assert pictures["positions"] == pytest.approx(radii.tolist())
    for k in (0, 25, 100):
        assert pictures["texts"][k] == "\n".join(view.summary(k))
        drawn = parts(neurons(view, k))
        for each in pictures["properties"]:
            if each["path"].endswith(".text"):
                assert each["values"][each["picks"][k]] == drawn[each["trace"], each["path"]]
    figure = go.Figure(json.loads(inside(folder / "neurons-digits.html", "spec")))
    assert len(figure.data) == len(neurons(view, 0).data)


def test_one_page_and_a_name_that_is_none(tmp_path):
    done = CliRunner().invoke(app, ["gallery", str(tmp_path), "--page", "training"])
    assert done.exit_code == 0
    assert {path.name for path in tmp_path.glob("*.html")} == {"index.html", "training.html"}
    done = CliRunner().invoke(app, ["gallery", str(tmp_path / "none"), "--page", "nothing"])
    assert done.exit_code == 2
    assert "neurons-digits" in done.stderr
    assert not (tmp_path / "none").exists()


def luminance(color):
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_dark_colours_can_be_read_and_told_apart():
    ground = dark_color("#FFFFFF")
    assert luminance(ground) < 0.02
    assert contrast(dark_color(INK), ground) > 10
    marks = {dark_color(color) for color in (CERTIFIED, UNPROVED, REFUTED, *(state.color for state in STATES))}
    assert len(marks) == 6
    assert all(contrast(mark, ground) >= 3 for mark in marks)
    for tint in TINTS:
        assert contrast(dark_color(INK), dark_color(tint)) > 4.5


def test_dark_figure():
    figure = go.Figure(
        [
            {"type": "heatmap", "z": [[1, 2]], "colorscale": WEIGHTS},
            {"type": "heatmap", "z": [[1, 2]], "colorscale": [[0, TINTS[0]], [1, INK]]},
            {"type": "bar", "y": [1, 2], "marker": {"color": [CERTIFIED, "#FFFFFF"]}},
        ],
        {
            "paper_bgcolor": "#FFFFFF",
            "xaxis": {"linecolor": "#888888"},
            "annotations": [{"text": f"<span style='color:{CERTIFIED}'>✔</span>"}],
        },
    )
    before, turned = figure.to_json(), dark(figure)
    assert figure.to_json() == before
    assert [list(step) for step in turned.data[0].colorscale] == WEIGHTS
    assert turned.data[1].colorscale == ((0, dark_color(TINTS[0])), (1, dark_color(INK)))
    assert turned.data[2].marker.color == (dark_color(CERTIFIED), dark_color("#FFFFFF"))
    assert turned.layout.paper_bgcolor == dark_color("#FFFFFF")
    assert turned.layout.annotations[0].text == f"<span style='color:{dark_color(CERTIFIED)}'>✔</span>"
    assert turned.layout.xaxis.tickcolor
