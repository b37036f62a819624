"""Predictions: committed before an explorer can be moved, drawn into its figure afterwards, and kept."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ipywidgets

from lliptools.storage import read_json, replacing
from lliptools.teach.shared.button import Button
from lliptools.teach.shared.explorer import Explorer
from lliptools.teach.shared.made import ROW
from lliptools.teach.shared.style import INK

RECORD = Path("predictions.json")  # in the folder of the notebook
LARGE = 4000  # pixels: more than a panel has


@dataclass(frozen=True)
class Number:
    """A question whose answer is a number.

    * low, high: the least and the greatest that is taken
    * panel: of the figure, counted from 1, in which the answer is drawn as ◆; 0 for none
    * x, y: where that is; None for the answer itself
    """

    low: float
    high: float
    panel: int = 0
    x: float | None = None
    y: float | None = None


class Prediction(ipywidgets.VBox):
    """An explorer that is locked until its questions are answered.

    * explorer: whose controls are locked
    * key: under which the answers are kept in predictions.json; where they are there already, nothing is locked
    * questions: by their text, a Number or the names to choose from
    * covers: panels, counted from 1, that would tell the answers, and are covered until they are committed

    answers: as they were committed, by question; empty before.
    """

    def __init__(
        self, explorer: Explorer, key: str, questions: Mapping[str, Number | Sequence[str]], covers: Sequence[int] = ()
    ) -> None:
        self.explorer, self.questions, self.covers, self._key = explorer, dict(questions), covers, key
        self.answers: dict[str, Any] = {}
        self.fields = [_field(each) for each in questions.values()]
        self.says = ipywidgets.HTML()
        self.commit = Button("commit", "keep these answers, and unlock the figure", self.fields, self._press)
        texts = [ipywidgets.HTML(f"{html.escape(text)}&nbsp;") for text in questions]
        asked = [
            ipywidgets.Box(pair, layout={"align_items": "center"}) for pair in zip(texts, self.fields, strict=True)
        ]
        self._asked = ipywidgets.Box([*asked, self.commit], layout=ROW)
        super().__init__([self._asked, self.says, explorer], layout={"width": "100%"})
        self._movable = list(explorer.screen.movable)
        explorer.annotate(self._marks())
        kept = _kept().get(key, {}).get("answers", {})
        if kept.keys() == self.questions.keys():
            self._unlock(kept)
        else:
            self._lock(True)
            self._say("◆ Predict first: your answers unlock the figure.")

    def answer(self, *answers: Any) -> None:
        """Commit answers, in the order of the questions. What does not fit is said, and nothing is kept."""
        read = [_read(each, given) for each, given in zip(self.questions.values(), answers, strict=True)]
        if None in read:
            text, wanted = next(pair for pair, one in zip(self.questions.items(), read, strict=True) if one is None)
            fits = f"from {wanted.low:g} to {wanted.high:g}" if isinstance(wanted, Number) else "one of those"
            self._say(f"“{text}” still wants {'a number ' * isinstance(wanted, Number)}{fits}.")
            return
        found = dict(zip(self.questions, read, strict=True))
        try:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            with replacing(RECORD) as unfinished:
                text = json.dumps({**_kept(), self._key: {"at": now, "answers": found}}, ensure_ascii=False, indent=1)
                unfinished.write_text(text, encoding="utf-8")
        except OSError as error:
            self._unlock(found, f" (Not kept: {error})")
        else:
            self._unlock(found)

    def _press(self, shown: Sequence[Mapping[str, Any]]) -> None:
        for field, state in zip(self.fields, shown, strict=True):
            field.set_state(state)
        self.answer(*(field.value for field in self.fields))

    def _unlock(self, answers: dict[str, Any], more: str = "") -> None:
        self.answers = answers
        said = " · ".join(f"{text} {answer}" for text, answer in answers.items())
        self._say(f"◆ You predicted: {said}. Now move the first slider, then open “What to notice”.{more}")
        self._asked.layout.display = "none"
        self._lock(False)
        self.explorer.annotate(self._marks())

    def _lock(self, locked: bool) -> None:
        for control in (*self.explorer.controls.values(), self.explorer.reset):
            control.disabled = locked
        self.explorer.screen.movable = [] if locked else self._movable

    def _say(self, text: str) -> None:
        self.says.value = f"<span style='line-height: 1.3'>{html.escape(text)}</span>"

    def _marks(self) -> list[dict[str, Any]]:
        """A cover per panel that has one, and ◆ at each answer that has a panel; covers go when ◆ comes."""
        marks = [_cover(panel, shown=not self.answers) for panel in self.covers]
        for question, each in self.questions.items():
            if not isinstance(each, Number) or not each.panel:
                continue
            number, place = "" if each.panel == 1 else str(each.panel), dict[str, Any]()
            for letter, at in (("x", each.x), ("y", each.y)):
                value = float(self.answers.get(question, each.low) if at is None else at)
                scale = self.explorer.figure.layout[f"{letter}axis{number}"].type
                place |= {letter: math.log10(max(value, 1e-12)) if scale == "log" else value}
                place[f"{letter}ref"] = f"{letter}{number}"
            look: dict[str, Any] = {
                "showarrow": False,
                "font": {"size": 17, "color": INK},
                "hovertext": "your prediction",
            }
            marks.append({"text": "◆" if self.answers else " ", **place, **look})
        return marks


def _cover(panel: int, *, shown: bool) -> dict[str, Any]:
    """A text over a panel; not shown, it is a blank, for a figure keeps the number of its texts."""
    number = "" if panel == 1 else str(panel)
    top = {"xref": f"x{number} domain", "yref": f"y{number} domain", "x": 0.5, "y": 1, "yanchor": "top"}
    size = {"bgcolor": "#F2F2F2", "width": LARGE, "height": LARGE, "valign": "top"} if shown else {}
    text = "predict first" if shown else " "
    return {"text": text, "showarrow": False, "captureevents": shown, "font": {"size": 13, "color": INK}, **top, **size}


def _field(question: Number | Sequence[str]) -> Any:
    """What an answer is given in; it starts empty."""
    if isinstance(question, Number):
        hint = f"{question.low:g} to {question.high:g}"
        return ipywidgets.Text(placeholder=hint, tooltip=f"a number from {hint}", layout={"width": "92px"})
    style = {"button_width": "auto"}
    return ipywidgets.ToggleButtons(options=list(question), value=None, tooltip="pick one", style=style)


def _read(question: Number | Sequence[str], given: Any) -> Any:
    """The answer, or None where none is given or it does not fit."""
    if not isinstance(question, Number):
        return given if given in question else None
    try:
        value = float(str(given).replace(",", "."))
    except ValueError:
        return None
    return value if question.low <= value <= question.high else None


def _kept() -> dict[str, Any]:
    """All that has been predicted in this folder."""
    try:
        found = read_json(RECORD)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
