"""The pages of the gallery: of the engine's numbers."""

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
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.glob("*.html")} == {"index.html", "training.html"}
    assert "index.html" in done.output
    assert "training.html" in done.output
    done = CliRunner().invoke(app, ["gallery", str(tmp_path / "none"), "--page", "nothing"])
    assert done.exit_code == 2
    assert "neurons-digits" in done.stderr
    assert not (tmp_path / "none").exists()
