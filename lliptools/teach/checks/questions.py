"""Questions that are answered with numbers, by keyword."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lliptools.teach.exercise import Exercise, NotAttempted, Outcome

__all__ = ["Question", "Questions"]


@dataclass(frozen=True)
class Question:
    """One number: the keyword, the right answer, what is said of a wrong one, and by what fraction it may be off."""

    name: str
    truth: float
    gap: str
    tolerance: float = 1e-9

    def met(self, value: float) -> bool:
        """Whether the number is right; NaN is not."""
        return abs(value - self.truth) <= self.tolerance * (abs(self.truth) or 1.0)


class Questions:
    """An exercise whose answers are numbers by keyword; it names every gap, and what is still to be answered."""

    def __init__(self, name: str, questions: Sequence[Question], hints: tuple[str, ...]) -> None:
        self._questions = {question.name: question for question in questions}
        self._exercise = Exercise(name, self._gaps, hints)

    def __call__(self, **answers: float | None) -> Outcome:
        """Check the answers."""
        return self._exercise(answers)

    def hint(self) -> None:
        """Print the next hint."""
        self._exercise.hint()

    def _gaps(self, answers: dict[str, Any]) -> Iterator[str]:
        names = list(self._questions)
        if unknown := sorted(set(answers) - set(names)):
            yield f"there is no question {unknown}; they are {names}"
        given = {name: value for name, value in answers.items() if value is not None}
        if numberless := [name for name, value in given.items() if not isinstance(value, int | float)]:
            yield f"{', '.join(numberless)}: a number is wanted"
        asked = [question for name, question in self._questions.items() if name in given]
        if gaps := [question.gap for question in asked if not question.met(given[question.name])]:
            yield "\n".join(gaps)
        if left := [name for name in names if name not in given]:
            raise NotAttempted(f"put a number for {', '.join(left)}")
        yield from [""] * len(names)
