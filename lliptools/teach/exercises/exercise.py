"""How an exercise is checked: not attempted, wrong with the smallest counter-example found, or right."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from inspect import signature
from time import monotonic
from typing import Any, ClassVar

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.teach.shared.pair import Pair
from lliptools.teach.shared.shown import display_figure
from lliptools.teach.shared.style import CERTIFIED, REFUTED

Answer = Callable[..., Any]
SHOWN = 32  # entries of a tensor; a larger one is named by its shape
PATIENCE = 1.0  # seconds after which a wrong answer is not asked about more cases


@dataclass(frozen=True)
class Outcome:
    """What a check says of an answer; status is "not attempted", "wrong" or "right".

    counter_example: the two points that the message speaks of, or None. A notebook draws them below the message; repr
    and print give the message alone. score, seconds: of the capstone; 0 elsewhere, and for what is not right.
    """

    status: str
    message: str
    counter_example: Pair | None = field(default=None, compare=False)
    score: float = 0.0
    seconds: float = field(default=0.0, compare=False)

    def __repr__(self) -> str:
        sign = {"right": "✔", "wrong": "✘"}.get(self.status, "…")
        return f"{sign} {self.status}: {self.message}"

    def picture(self) -> Any:
        """The two points as a plotly figure; None without them."""
        if self.counter_example is None:
            return None
        from lliptools.teach.shared.pair_figure import counter_example  # plotly is loaded where something is drawn

        return counter_example(self.counter_example)

    def _ipython_display_(self) -> None:
        """Show the message as a card, and the picture below it."""
        from IPython.display import display

        color = {"right": CERTIFIED, "wrong": REFUTED}.get(self.status, "gray")
        style = f"border-left: 6px solid {color}; padding: 4px 12px; white-space: pre-wrap; overflow-wrap: anywhere"
        display({"text/html": f'<div style="{style}">{escape(repr(self))}</div>', "text/plain": repr(self)}, raw=True)
        if self.counter_example is not None:
            display_figure(self.picture(), "[a picture of the two points]")


class Wrong(AssertionError):
    """What is wrong with an answer, in a text for the reader; counter_example: two points that show it."""

    def __init__(self, message: str, counter_example: Pair | None = None) -> None:
        super().__init__(message)
        self.counter_example = counter_example


class NotAttempted(Exception):
    """The answer is still empty; its text says what is to be done."""


class Exercise:
    """An exercise whole; a subclass is `ll.check.NAME`, its own name in small letters.

    check(answer, *case): runs without raising where the answer is right on a case; raises Wrong or NotAttempted. What
    it returns for the last case, an Outcome, is said of a right answer; None for the number of cases.
    cases(seed): the smallest first. An exercise that has its own is seeded: torch's generator starts from the seed, so
    other seeds draw other cases, and an answer is marked on cases that its author has not seen.
    reference: a right answer. wrong: the classic mistakes, each with a part of what is said of it.
    """

    hints: ClassVar[tuple[str, ...]]
    todo: ClassVar[str] = "fill in the function"
    reference: Any
    wrong: tuple[tuple[Any, str], ...]
    check: Callable[..., "Outcome | None"]

    def __init__(self) -> None:
        self.name = re.sub(r"(?<=.)([A-Z])", r"_\1", type(self).__name__).lower()
        self.seeded = type(self).cases is not Exercise.cases
        self._given = 0

    def __call__(self, answer: Any, seed: int | None = None) -> Outcome:
        """Check an answer, on the cases of the notebook or on those of another seed."""
        return self.outcome(answer, seed)

    def outcome(self, answer: Any, seed: int | None = None, **options: Any) -> Outcome:
        """Check an answer on every case; options are handed to the check. Raises InvalidInput for an unused seed."""
        if seed is not None and not self.seeded:
            wanted, cause = f"an answer alone for ll.check.{self.name}", "an exercise that draws no random cases"
            raise InvalidInput(expected=wanted, got=f"seed={seed} too", cause=cause, next_step="leave the seed out")
        try:
            if answer is None or answer is Ellipsis:
                raise NotAttempted
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed or 0)
                return self._verdict(answer, [*self.cases(seed or 0)], options)
        except NotAttempted as what:
            todo = str(what) or self.todo
            return Outcome("not attempted", f"{todo} and run the cell again; ll.check.{self.name}.hint()")

    def _verdict(self, answer: Any, cases: list[tuple[Any, ...]], options: dict[str, Any]) -> Outcome:
        """What is said after all cases: the smallest one that is wrong, and how many are."""
        faults, found, asked, start = [], None, 0, monotonic()
        for case in cases:
            asked += 1
            try:
                found = self.check(answer, *case, **options)
            except Wrong as fault:
                faults.append(fault)
            if faults and monotonic() - start > PATIENCE:
                break
        if faults:
            count = f"Wrong on {len(faults)} of {asked} cases. " if asked > 1 else ""
            message = f"{faults[0]}\n{count}A hint: ll.check.{self.name}.hint()"
            return Outcome("wrong", message, faults[0].counter_example)
        return found or Outcome("right", f"on {len(cases)} cases" if len(cases) > 1 else "well found")

    def cases(self, seed: int) -> Iterator[tuple[Any, ...]]:
        """The arguments of check, beside the answer: one case without any."""
        yield ()

    def described(self, *case: Any) -> str:
        """A case in words, by the names of the reference's arguments."""
        names = signature(self.reference).parameters
        return ", ".join(f"{name} = {show(value)}" for name, value in zip(names, case, strict=False))

    def hint(self) -> None:
        """Print the next hint; after the last one, that there are no more."""
        if self._given == len(self.hints):
            print("there are no more hints: the solution is folded below the cell")
            return
        self._given += 1
        print(f"hint {self._given} of {len(self.hints)}: {self.hints[self._given - 1]}")


def show(value: Any) -> str:
    """A value in words: numbers with four digits, a large tensor by its shape, a list by its members."""
    if isinstance(value, list | tuple):
        return ", ".join(map(show, value))
    if not isinstance(value, Tensor):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if value.numel() > SHOWN:
        return f"one of shape {tuple(value.shape)}"
    return str(_four_digits((value.int() if value.dtype == torch.bool else value).tolist()))


def _four_digits(value: Any) -> Any:
    if isinstance(value, list):
        return [_four_digits(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
