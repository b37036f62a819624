"""What checks ask of an answer, and how they tell what is wrong with it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lliptools.teach.exercise import NotAttempted, run

__all__ = ["Fault", "ask", "numbers", "told"]


class Fault(Exception):
    """What is wrong with an answer, in a text for the reader."""


def ask(function: Callable[..., Any], described: str, *arguments: Any) -> Any:
    """The function's answer to copies of the arguments. Raises NotAttempted, and Fault where the function raises."""
    copies = [argument.clone() if isinstance(argument, Tensor) else argument for argument in arguments]
    try:
        return run(function, *copies)
    except NotAttempted:
        raise
    except Exception as error:  # whatever an answer raises is a fault of the answer
        raise Fault(f"on {described} your function raised {type(error).__name__}: {error}") from None


def numbers(answer: Any, shape: tuple[int, ...], described: str) -> Tensor:
    """The answer as finite float64 numbers of that shape, with its graph where it has one. Raises Fault."""
    try:
        found = torch.as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        raise Fault(f"on {described} numbers of shape {shape} are expected; got {str(answer)[:80]}") from None
    if found.shape != shape or found.is_complex():
        raise Fault(f"on {described} numbers of shape {shape} are expected; got shape {tuple(found.shape)}")
    if not found.isfinite().all():
        raise Fault(f"on {described} your answer is not finite: {str(found.tolist())[:120]}")
    return found.double().cpu()


def told(cases: Callable[[Any], Iterator[None]]) -> Callable[[Any], Iterator[str]]:
    """What an Exercise takes, of cases that yield for every right case and raise Fault at the first wrong one."""

    def faults(answer: Any) -> Iterator[str]:
        try:
            for _ in cases(answer):
                yield ""
        except Fault as fault:
            yield str(fault)

    return faults
