"""How an exercise checks itself: not attempted, wrong with the smallest counter-example found, or right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Exercise", "NotAttempted", "Outcome", "run", "show"]


@dataclass(frozen=True)
class Outcome:
    """What a check says of an answer; status is "not attempted", "wrong" or "right"."""

    status: str
    message: str

    def __repr__(self) -> str:
        sign = {"right": "✔", "wrong": "✘"}.get(self.status, "…")
        return f"{sign} {self.status}: {self.message}"


class Exercise:
    """A check that is called with the reader's answer, and hints that come one at a time.

    faults(answer) yields a text for every fault it finds, smallest case first, and "" for every case that is right.
    """

    def __init__(self, name: str, faults: Callable[[Any], Iterator[str]], hints: tuple[str, ...]) -> None:
        self.name, self._faults, self._hints, self._given = name, faults, hints, 0

    def __call__(self, answer: Any) -> Outcome:
        """Check an answer."""
        right = 0
        try:
            for fault in self._faults(answer):
                if fault:
                    return Outcome("wrong", f"{fault}\nA hint: ll.check.{self.name}.hint()")
                right += 1
        except NotAttempted as what:
            todo = str(what) or "fill in the function"
            return Outcome("not attempted", f"{todo} and run the cell again; ll.check.{self.name}.hint()")
        return Outcome("right", f"on {right} cases" if right > 1 else "well found")

    def hint(self) -> None:
        """Print the next hint."""
        shown = min(self._given, len(self._hints) - 1)
        self._given += 1
        print(f"hint {shown + 1} of {len(self._hints)}: {self._hints[shown]}")


class NotAttempted(Exception):
    """The answer is still empty; its text says what is to be done."""


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's answer; an empty function has not been attempted."""
    try:
        answer = function(*arguments)
    except NotImplementedError:
        raise NotAttempted from None
    if answer is None or answer is Ellipsis:
        raise NotAttempted
    return answer


def show(value: Tensor) -> str:
    """A number, vector or matrix with at most four decimals."""
    return str(torch.round(value, decimals=4).tolist())
