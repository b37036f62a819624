"""A prediction locks an explorer until it is committed; then it stands in the figure and in a file."""

import json

import pytest

import lliptools as ll
from lliptools.teach.shared import prediction

ASKED = {"the product": ll.teach.Number(0, 300, panel=1, x=2), "the truth": ("1", "2")}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def asked(questions=ASKED):
    return ll.teach.Prediction(ll.teach.NormExplorer(), "03", questions)


def locked(made):
    return {control.disabled for control in (*made.explorer.controls.values(), made.explorer.reset)}


def marks(made):
    return [text for text in made.explorer.figure.layout.annotations if text.hovertext == "your prediction"]


def test_it_is_locked_until_it_is_committed_and_then_drawn_at_every_position():
    made = asked()
    assert locked(made) == {True}
    assert [mark.text for mark in marks(made)] == [" "]
    made.answer("256", "1")
    assert locked(made) == {False}
    made.explorer.controls["iteration"].value = 7
    (mark,) = marks(made)
    assert (mark.text, mark.x, mark.y, mark.xref, mark.yref) == ("◆", 2, 256, "x", "y")
    assert "the product 256.0 · the truth 1" in made.says.value


def test_it_is_kept_beside_others_and_found_again():
    prediction.RECORD.write_text('{"01": {"answers": {"which": "class 2"}}}', encoding="utf-8")
    asked().answer(8, "2")
    kept = json.loads(prediction.RECORD.read_text(encoding="utf-8"))
    assert kept["01"]["answers"] == {"which": "class 2"}
    assert kept["03"]["answers"] == {"the product": 8.0, "the truth": "2"}
    again = asked()
    assert again.answers == kept["03"]["answers"]
    assert locked(again) == {False}
    assert locked(asked({"another question": ("a", "b")})) == {True}


@pytest.mark.parametrize("answers", [("", "1"), ("301", "1"), ("nan", "1"), ("8", None), ("eight", "1")])
def test_what_does_not_fit_is_said_and_nothing_is_kept(answers):
    made = asked()
    made.answer(*answers)
    assert "still wants" in made.says.value
    assert locked(made) == {True}
    assert not prediction.RECORD.exists()


def test_the_button_carries_what_the_browser_shows():
    made = asked()
    made._press([{"value": "12"}, {"index": 0}])
    assert made.answers == {"the product": 12.0, "the truth": "1"}


def test_a_folder_that_cannot_be_written_to_locks_nobody_out(monkeypatch):
    monkeypatch.setattr(prediction, "RECORD", prediction.Path("not there", "predictions.json"))
    made = asked()
    made.answer(1, "1")
    assert locked(made) == {False}
    assert "Not kept" in made.says.value


def test_on_a_logarithmic_axis_it_stands_where_its_logarithm_is(monkeypatch):
    made = asked()
    made.explorer.figure.layout.yaxis.type = "log"
    made.answers = {"the product": 100.0, "the truth": "1"}
    assert made._marks()[0]["y"] == 2


def test_a_panel_that_would_tell_is_covered_until_there_is_an_answer():
    made = ll.teach.Prediction(ll.teach.NormExplorer(), "03", ASKED, covers=[2])
    made.explorer.controls["iteration"].value = 3
    (cover,) = (text for text in made.explorer.figure.layout.annotations if text.xref == "x2 domain")
    assert (cover.text, cover.yref) == ("predict first", "y2 domain")
    assert min(cover.width, cover.height) > 1000
    count = len(made.explorer.figure.layout.annotations)
    made.answer("256", "1")
    (cover,) = (text for text in made.explorer.figure.layout.annotations if text.xref == "x2 domain")
    assert (cover.text, cover.width, cover.bgcolor) == (" ", None, None)
    assert len(made.explorer.figure.layout.annotations) == count
    (mark,) = marks(made)
    assert mark.text == "◆"
