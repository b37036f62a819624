"""Curves that a notebook draws by itself: what is handed over is drawn, and shown with words beside it."""

import pytest

import lliptools as ll
from lliptools.teach.shared.curves import curves
from lliptools.teach.shared.shown import PLOTLY


def test_every_line_is_drawn_under_its_name_and_in_a_dash_of_its_own():
    figure = curves({"margin": ([1, 2], [3.0, 4.0]), "L": ([1, 2, 4], [5.0, 6.0, 7.0])}, "θ", "value", log=True)
    assert [(line.name, list(line.x), list(line.y)) for line in figure.data] == [
        ("margin", [1, 2], [3, 4]),
        ("L", [1, 2, 4], [5, 6, 7]),
    ]
    assert len({line.line.dash for line in figure.data}) == 2
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.title.text == "θ"


@pytest.mark.parametrize("log", [False, True])
def test_it_is_shown_as_plotly_takes_it_and_in_words(monkeypatch, log):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    ll.teach.plot({"L": ([1, 2], [1.0, 0.5])}, "θ", "value", log=log)
    (data,) = shown
    assert data["text/plain"] == "[a picture: L against θ]"
    assert data[PLOTLY]["data"][0]["y"] == [1.0, 0.5]
    assert data[PLOTLY]["config"]["displaylogo"] is False
