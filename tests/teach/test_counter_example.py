"""How an outcome is shown: text for print and nbval, a picture below it in a notebook."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import lliptools as ll
from lliptools.teach.checks.answers import ask, number
from lliptools.teach.exercise import Exercise, Fault, Finding, NotAttempted, Outcome
from lliptools.teach.shared.pair import Pair, pair_of
from lliptools.teach.shared.pair_figure import counter_example

PLOTLY = "application/vnd.plotly.v1+json"


def shown(outcome, monkeypatch, capsys):
    """What a notebook gets: the text printed, and the bundles displayed."""
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    outcome._ipython_display_()
    return capsys.readouterr().out, bundles


def test_the_message_is_printed_and_the_picture_follows(monkeypatch, capsys):
    outcome = ll.check.break_spectral_norm([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    text, (bundle,) = shown(outcome, monkeypatch, capsys)
    assert text == f"{outcome!r}\n"
    assert bundle["text/plain"]
    assert len(bundle[PLOTLY]["data"]) == 4
    assert "sendChartToCloud" in bundle[PLOTLY]["config"]["modeBarButtonsToRemove"]


def test_without_a_picture_there_is_the_message_alone(monkeypatch, capsys):
    outcome = ll.check.break_spectral_norm(None)
    assert shown(outcome, monkeypatch, capsys) == (f"{outcome!r}\n", [])


def test_the_text_does_not_depend_on_the_picture():
    with_one, without = Outcome("wrong", "no", lambda: None), Outcome("wrong", "no")
    assert repr(with_one) == repr(without) == "✘ wrong: no"
    assert with_one == without


def test_a_check_loads_no_plotly_until_it_draws():
    code = (
        "import sys, lliptools as ll; o = ll.check.why_sqrt2([[1, 0], [-1, 0]]);"
        "print('plotly' in sys.modules, o.status); o.picture(); print('plotly' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "wrong", "True"]


def test_what_is_found_last_is_said_of_a_right_answer():
    found = [Finding("one", right=True), "", Finding("all", lambda: "drawn", right=True)]
    outcome = Exercise("example", lambda answer: iter(found), ("hint",))(0)
    assert (outcome.status, outcome.message) == ("right", "all")
    assert outcome.picture() == "drawn"


def test_the_first_fault_counts():
    outcome = Exercise("example", lambda answer: iter(["", Finding("bad"), "worse"]), ("hint",))(0)
    assert outcome.status == "wrong"
    assert outcome.message.startswith("bad\n")


def test_ask_reads_an_answer():
    assert ask(lambda: torch.tensor([3.0], requires_grad=True), "x", read=number, wanted="a number") == 3.0
    with pytest.raises(NotAttempted):
        ask(lambda: None, "x", read=number, wanted="a number")
    with pytest.raises(Fault, match="on x your function raised KeyError: 'a'"):
        ask(lambda: {}["a"], "x", read=number, wanted="a number")
    with pytest.raises(Fault, match="on x expected a number; got hello"):
        ask(lambda: "hello", "x", read=number, wanted="a number")


def test_an_answer_cannot_change_what_it_is_given():
    given = [torch.ones(2)]
    assert ask(lambda weights: weights[0].mul_(5).sum(), "x", given, read=number, wanted="a number") == 10.0
    assert given[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("x", "f_x", "kinds"),
    [
        (torch.zeros(2), torch.zeros(2), ["scatter"] * 8),  # border, ball, a line and two points; a line and two points
        (torch.zeros(2), torch.zeros(3), ["scatter"] * 5 + ["bar"] * 2),
        (torch.zeros(5), torch.zeros(2), ["bar"] * 2 + ["scatter"] * 3),
        (torch.zeros(4, 4), torch.zeros(4, 4), ["heatmap"] * 4),
        (torch.zeros(1), torch.zeros(1), ["bar"] * 4),
    ],
)
def test_each_shape_has_its_drawing(x, f_x, kinds):
    border = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    more = {"center": x, "radius": 2.0, "border": border} if x.shape == (2,) else {}
    figure = counter_example(Pair("a claim", x, x + 1, f_x, f_x + 2, **more))
    assert [trace.type for trace in figure.data] == kinds
    texts = [note.text for note in figure.layout.annotations]
    assert texts[0] == "<b>a claim</b>"
    assert any(f"‖x − x′‖ = {np.sqrt(x.numel()):.4g}" in text for text in texts)
    assert any(f"‖f(x) − f(x′)‖ = {2 * np.sqrt(f_x.numel()):.4g}" in text for text in texts)


def test_a_pair_measures_itself():
    pair = pair_of(lambda z: 3 * z, "", torch.zeros(2), torch.tensor([3.0, 4.0]))
    assert (pair.distance, pair.change, pair.slope) == (5.0, 15.0, 3.0)
    assert np.isnan(pair_of(lambda z: z, "", torch.zeros(2), torch.zeros(2)).slope)
