"""How an exercise checks itself: not attempted, wrong with the smallest counter-example found, or right."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.teach.shared.style import CONFIG

__all__ = ["Exercise", "Fault", "Finding", "NotAttempted", "Outcome", "show"]

Picture = Callable[[], Any]  # draws a plotly figure when it is called
PLOTLY = "application/vnd.plotly.v1+json"


@dataclass(frozen=True)
class Outcome:
    """What a check says of an answer; status is "not attempted", "wrong" or "right".

    picture: draws the two points that the message speaks of, as a plotly figure; None where there are none. A notebook
    shows it below the message; repr and print give the message alone.
    """

    status: str
    message: str
    picture: Picture | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        sign = {"right": "✔", "wrong": "✘"}.get(self.status, "…")
        return f"{sign} {self.status}: {self.message}"

    def _ipython_display_(self) -> None:
        """Print the message and show the picture."""
        print(self)
        if self.picture is not None:
            from IPython.display import display

            shown = {**json.loads(self.picture().to_json()), "config": CONFIG}
            display({PLOTLY: shown, "text/plain": "[a picture of the two points]"}, raw=True)


@dataclass(frozen=True)
class Finding:
    """What a check found on one case: a fault, or with right=True what is to be said of a right answer."""

    text: str
    picture: Picture | None = None
    right: bool = False


class Exercise:
    """A check that is called with the reader's answer, and hints that come one at a time.

    faults(answer) yields a text or a Finding for every fault it finds, smallest case first, and "" or a Finding with
    right=True for every case that is right. Where it takes a seed too, faults(answer, seed), the exercise is seeded:
    other seeds draw other cases, and an answer is marked on cases that its author has not seen.
    """

    def __init__(
        self, name: str, faults: Callable[..., Iterator[str] | Iterator[str | Finding]], hints: tuple[str, ...]
    ) -> None:
        self.name, self._faults, self._hints, self._given = name, faults, hints, 0
        self.seeded = "seed" in signature(faults).parameters

    def __call__(self, answer: Any, seed: int | None = None) -> Outcome:
        """Check an answer, on the cases of the notebook or on those of another seed."""
        if seed is not None and not self.seeded:
            raise InvalidInput(
                expected=f"an answer alone for ll.check.{self.name}",
                got=f"seed={seed} too",
                cause="an exercise that draws no random cases",
                next_step="leave the seed out",
            )
        right, last = 0, Finding("")
        try:
            for found in self._faults(answer) if seed is None else self._faults(answer, seed):
                last = Finding(found, right=not found) if isinstance(found, str) else found
                if not last.right:
                    return self._wrong(last)
                right += 1
        except NotAttempted as what:
            todo = str(what) or "fill in the function"
            return Outcome("not attempted", f"{todo} and run the cell again; ll.check.{self.name}.hint()")
        except Fault as fault:
            return self._wrong(Finding(str(fault)))
        return Outcome("right", last.text or (f"on {right} cases" if right > 1 else "well found"), last.picture)

    def hint(self) -> None:
        """Print the next hint."""
        shown = min(self._given, len(self._hints) - 1)
        self._given += 1
        print(f"hint {shown + 1} of {len(self._hints)}: {self._hints[shown]}")

    def _wrong(self, fault: Finding) -> Outcome:
        return Outcome("wrong", f"{fault.text}\nA hint: ll.check.{self.name}.hint()", fault.picture)


class NotAttempted(Exception):
    """The answer is still empty; its text says what is to be done."""


class Fault(Exception):
    """What is wrong with an answer, in a text for the reader; a check that raises it ends there."""


def show(value: Tensor) -> str:
    """A number, vector or matrix with at most four decimals."""
    return str(torch.round(value, decimals=4).tolist())
