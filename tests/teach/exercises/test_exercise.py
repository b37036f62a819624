"""What all exercises share: how an answer is asked for, how an outcome is shown, text first and a picture below it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import lliptools as ll
from lliptools.teach.exercises.answers import ask, ask_number
from lliptools.teach.exercises.exercise import Exercise, NotAttempted, Outcome, Wrong, show
from lliptools.teach.shared.pair import Pair, pair_of
from lliptools.teach.shared.pair_figure import counter_example
from lliptools.teach.shared.shown import PLOTLY

PAIR = Pair("a claim", torch.zeros(2), torch.ones(2), torch.zeros(2), torch.ones(2))


class TwiceTheNumber(Exercise):
    """twice_the_number(x): 2 x."""

    hints = ("first", "second")
    reference = staticmethod(lambda x: 2 * x)

    def cases(self, seed):
        yield from ((x,) for x in (0, 1, 7 + seed))

    def check(self, answer, x):
        if ask_number(answer, self.described(x), x) != 2 * x:
            raise Wrong(f"on {self.described(x)} 2 x is {2 * x}", PAIR)
        return Outcome("right", "all of them", PAIR) if x > 1 else None


def shown(outcome, monkeypatch, capsys):
    """What a notebook gets: the text of the card, and the bundles displayed after it."""
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    outcome._ipython_display_()
    card, *others = bundles
    assert "pre-wrap" in card["text/html"]
    assert not capsys.readouterr().out
    return card["text/plain"], others


def test_an_exercise_of_ones_own():
    exercise = TwiceTheNumber()
    assert (exercise.name, exercise.seeded) == ("twice_the_number", True)
    wrong = exercise(lambda x: x * x)
    assert wrong.message == "on x = 1 2 x is 2\nWrong on 2 of 3 cases. A hint: ll.check.twice_the_number.hint()"
    assert wrong.counter_example is PAIR
    right = exercise(lambda x: x + x)
    assert (right.status, right.message) == ("right", "all of them")
    assert exercise(lambda x: 2 * x if x in (0, 1, 7) else 0.0).status == "right"
    assert "x = 9" in exercise(lambda x: 2 * x if x in (0, 1, 7) else 0.0, seed=2).message


def test_the_message_is_printed_and_the_picture_follows(monkeypatch, capsys):
    outcome = ll.check.break_spectral_norm([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    text, (bundle,) = shown(outcome, monkeypatch, capsys)
    assert text == repr(outcome)
    assert bundle["text/plain"]
    assert len(bundle[PLOTLY]["data"]) == 4
    assert "sendChartToCloud" in bundle[PLOTLY]["config"]["modeBarButtonsToRemove"]


def test_without_a_picture_there_is_the_message_alone(monkeypatch, capsys):
    outcome = ll.check.break_spectral_norm(None)
    assert shown(outcome, monkeypatch, capsys) == (repr(outcome), [])
    assert outcome.picture() is None


def test_the_text_does_not_depend_on_the_picture():
    with_one, without = Outcome("wrong", "no", PAIR), Outcome("wrong", "no")
    assert repr(with_one) == repr(without) == "✘ wrong: no"
    assert with_one == without


@pytest.mark.slow
def test_a_check_loads_no_plotly_until_it_draws():
    code = (
        "import sys, lliptools as ll; o = ll.check.why_sqrt2([[1, 0], [-1, 0]]);"
        "print('plotly' in sys.modules, o.status); o.picture(); print('plotly' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "wrong", "True"]


def test_ask_reads_an_answer():
    assert ask_number(lambda: torch.tensor([3.0], requires_grad=True), "x") == 3.0
    for empty in (lambda: None, lambda: ...):
        with pytest.raises(NotAttempted):
            ask_number(empty, "x")
    with pytest.raises(Wrong, match="did you forget `return`"):
        ask_number(lambda x: x.clear(), "x", [1.0])
    with pytest.raises(Wrong, match=r"on x your function raised KeyError: 'a', in the line `ask_number\(lambda"):
        ask_number(lambda: {}["a"], "x")
    with pytest.raises(Wrong, match="on x expected a number; got hello"):
        ask_number(lambda: "hello", "x")


def test_an_answer_cannot_change_what_it_is_given():
    given = [torch.ones(2)]
    assert ask(lambda weights: weights[0].mul_(5).sum(), "x", given) == 10.0
    assert given[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.tensor([[1.0, -2.123456], [1e-5, 123456.0]]), "[[1.0, -2.123], [1e-05, 123500.0]]"),
        ([torch.tensor([True, False]), torch.zeros(5, 7)], "[1, 0], one of shape (5, 7)"),
        (0.5, "0.5"),
        (3, "3"),
        (torch.tensor(torch.nan), "nan"),
    ],
)
def test_a_value_in_words(value, said):
    assert show(value) == said


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
