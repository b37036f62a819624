"""The self-test of notebook 00."""

from collections.abc import Iterator
from typing import Any

from lliptools.teach.exercise import Exercise, NotAttempted, Outcome

__all__ = ["self_test"]

_QUESTIONS = (
    ("norm", 4.0, "A (norms)", "‖diag(3, −4)‖"),
    ("lipschitz", 6.0, "B (Lipschitz constants)", "the Lipschitz constant of 2·|3t|"),
    ("relu", 0.0, "C (ReLU)", "how much relu(z) changes while z moves from −2 to −1"),
    ("margin", 0.5, "D (margins)", "the margin of label 0 under logits (2, 0.5, 1.5)"),
    ("rows", 128.0, "E (shapes)", "the rows of torch.nn.Linear(64, 128).weight"),
)


def _gaps(answers: dict[str, Any]) -> Iterator[str]:
    names = [name for name, *_ in _QUESTIONS]
    if unknown := sorted(set(answers) - set(names)):
        yield f"there is no question {unknown}; they are {names}"
    given = {name: value for name, value in answers.items() if value is not None}
    if numberless := [name for name, value in given.items() if not isinstance(value, int | float)]:
        yield f"{', '.join(numberless)}: a number is wanted"
    gaps = [
        f"{what}: read section {section} below"
        for name, truth, section, what in _QUESTIONS
        if name in given and not abs(given[name] - truth) <= 1e-9
    ]
    if gaps:
        yield "\n".join(gaps)
    if left := [name for name in names if name not in given]:
        raise NotAttempted(f"put a number for {', '.join(left)}")
    yield from [""] * len(names)


class SelfTest:
    """The five questions of notebook 00, by keyword: norm, lipschitz, relu, margin, rows.

    Names the section of the notebook that repairs each gap.
    """

    def __init__(self) -> None:
        self._exercise = Exercise("self_test", _gaps, ("Sections A to E below the cell answer one question each.",))

    def __call__(self, **answers: float | None) -> Outcome:
        """Check the answers."""
        return self._exercise(answers)

    def hint(self) -> None:
        """Print the next hint."""
        self._exercise.hint()


self_test = SelfTest()
