"""What checks ask of an answer, and how they tell what is wrong with it."""

import dis
import linecache
import math
from collections.abc import Callable
from traceback import extract_tb
from typing import Any, ClassVar

import torch
from torch import Tensor

from lliptools.teach.exercises.exercise import Answer, Exercise, NotAttempted, Outcome, Wrong


def ask(
    function: Answer,
    described: str,
    *arguments: Any,
    read: Callable[[Any], Any] = lambda value: value,
    wanted: str = "",
) -> Any:
    """read(the function's answer), tensors copied with their graphs, the random numbers the same in every call.

    described: the case, and wanted: what read takes, in words. Raises NotAttempted for an empty function, and Wrong
    for whatever else fails.
    """
    try:
        torch.default_generator.manual_seed(0)  # a check runs with random numbers of its own
        answer = function(*map(_copied, arguments))
    except NotImplementedError:
        raise NotAttempted from None
    except Exception as error:  # whatever an answer raises is a fault of the answer
        raised = f"{type(error).__name__}: {error}{_line_of(function, error)}"
        raise Wrong(f"on {described} your function raised {raised}") from error
    if answer is None and _does_something(function):
        raise Wrong(f"on {described} your function returned None: did you forget `return`?")
    if answer is None or answer is Ellipsis:
        raise NotAttempted
    try:
        return read(answer)
    except Exception:
        raise Wrong(f"on {described} expected {wanted}; got {str(answer)[:200]}") from None


def _does_something(function: Answer) -> bool:
    """Whether a function has more in it than `...`, pass or return None."""
    nothing = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
    code = getattr(function, "__code__", None)
    return code is not None and any(step.opname not in nothing for step in dis.get_instructions(code))


def _line_of(function: Answer, error: Exception) -> str:
    """The last line of the answer's own file that was running, in words; empty where it is not known."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file and frame.lineno]
    text = linecache.getline(file, lines[-1]).strip() if file and lines else ""
    return f", in the line `{text}`" if text else ""


def _copied(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_copied(each) for each in argument]
    return argument.clone() if isinstance(argument, Tensor) else argument


def ask_number(function: Answer, described: str, *arguments: Any, lost: str = "") -> float:
    """The function's answer as a number. lost: what is said of one that is not finite, taken as it is by default."""

    def read(value: Any) -> float:
        return torch.as_tensor(value, dtype=torch.float64).detach().item()

    found: float = ask(function, described, *arguments, read=read, wanted="a number")
    if lost and not math.isfinite(found):
        raise Wrong(f"on {described} {lost.format(found)}")
    return found


def ask_numbers(function: Answer, described: str, shape: tuple[int, ...], *arguments: Any) -> Tensor:
    """The function's answer as finite float64 numbers of that shape, with its graph. Raises Wrong."""
    return numbers(ask(function, described, *arguments), shape, described)


def sides(answer: Any) -> list[Tensor]:
    """The tensors of an answer, in float64."""
    return [torch.as_tensor(side, dtype=torch.float64) for side in answer]


def first(where: Tensor) -> int:
    """The number of the first True, where there is one: (count,) -> int."""
    return int(where.nonzero()[0, 0])


def differs(case: str, what: str, truth: float, got: float, more: str = "") -> Wrong:
    """What is said of a number that is not the right one."""
    return Wrong(f"on {case} {what} is {truth:.6g}; yours is {got:.6g}{more}")


def numbers(answer: Any, shape: tuple[int, ...], described: str) -> Tensor:
    """The answer as finite float64 numbers of that shape, with its graph where it has one. Raises Wrong."""
    wanted = f"on {described} numbers of shape {shape} are expected; got"
    try:
        # What is no tensor yet is read in float64: torch would round it to float32.
        found = answer if isinstance(answer, Tensor) else torch.as_tensor(answer, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{wanted} {str(answer)[:80]}") from None
    if found.shape != shape or found.is_complex():
        raise Wrong(f"{wanted} shape {tuple(found.shape)}")
    if not found.isfinite().all():
        raise Wrong(f"on {described} your answer is not finite: {str(found.tolist())[:120]}")
    return found.double().cpu()


def same_gradients(case: str, truth: Tensor, loss: Tensor, parts: dict[str, Tensor]) -> None:
    """Raise Wrong where a loss of the right value has another gradient in one of its parts, given by their names."""
    wanted, found = (
        torch.autograd.grad(value, list(parts.values()), retain_graph=True, materialize_grads=True)
        if value.requires_grad
        else [torch.zeros_like(part) for part in parts.values()]
        for value in (truth, loss)
    )
    for name, right, got in zip(parts, wanted, found, strict=True):
        if not torch.allclose(got, right, atol=1e-9):
            k = int((got - right).abs().argmax())
            entry = f"{got.flatten()[k]:.5g} and not {right.flatten()[k]:.5g} in its entry {k}"
            raise Wrong(f"on {case} the value is right, but its gradient in {name} is {entry}: was something detached?")


def given(answer: Any, wanted: str, fits: Callable[[Tensor], Any]) -> Tensor:
    """An example as finite float64 numbers that fit; wanted: what fits, in words. Raises Wrong."""
    try:
        found = torch.as_tensor(answer, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        found = torch.tensor(torch.nan)
    if not (found.isfinite().all() and fits(found)):
        raise Wrong(f"expected {wanted}; got {str(answer)[:200]}")
    return found


def norm(W: Tensor) -> float:
    """‖W‖."""
    return torch.linalg.matrix_norm(W, 2).item()


def from_below(W: Tensor) -> Tensor:
    """‖W‖ by two steps of power iteration, (..., rows, columns) -> (...): the classic estimate that is no bound."""
    v = torch.ones(*W.shape[:-2], W.shape[-1], 1, dtype=torch.float64)
    for _ in range(2):
        v = torch.nn.functional.normalize(W.mT @ (W @ v), dim=-2)
    return (W @ v).flatten(-2).norm(dim=-1)


class Questions(Exercise):
    """An exercise whose answers are numbers by keyword; it names every gap, and what is still to be answered.

    questions: the keyword, the right number, what is said of a wrong one, and the classic wrong ones, one by one. off:
    by what fraction a number may be off.
    """

    questions: ClassVar[tuple[tuple[str, float, str, tuple[float, ...]], ...]]
    off = 1e-9

    def __init__(self) -> None:
        super().__init__()
        self.reference = {name: truth for name, truth, *_ in self.questions}
        self.wrong = tuple(
            ({**self.reference, name: slip}, gap) for name, _, gap, slips in self.questions for slip in slips
        )

    def __call__(self, **answers: float | None) -> Outcome:  # type: ignore[override]
        """Check the answers."""
        return self.outcome(answers)

    def check(self, answers: dict[str, Any]) -> Outcome:
        """Raise for every gap at once, then for what is left."""
        names = list(self.reference)
        if unknown := sorted(set(answers) - set(names)):
            raise Wrong(f"there is no question {unknown}; they are {names}")
        filled = {name: answers[name] for name in names if answers.get(name) is not None}
        if numberless := [name for name, value in filled.items() if not isinstance(value, int | float)]:
            raise Wrong(f"{', '.join(numberless)}: a number is wanted")
        off = {name: self.off * (abs(truth) or 1.0) for name, truth in self.reference.items()}
        wrong = [name for name, value in filled.items() if not abs(value - self.reference[name]) <= off[name]]
        if wrong:
            raise Wrong("\n".join(gap for name, _, gap, _ in self.questions if name in wrong))
        if left := [name for name in names if name not in filled]:
            raise NotAttempted(f"put a number for {', '.join(left)}")
        return Outcome("right", f"on {len(names)} cases")
