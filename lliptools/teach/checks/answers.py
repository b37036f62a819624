"""What checks ask of an answer, and how they tell what is wrong with it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lliptools.teach.exercise import Fault, NotAttempted

__all__ = ["ask", "number", "numbers", "told"]


def ask(
    function: Callable[..., Any],
    described: str,
    *arguments: Any,
    read: Callable[[Any], Any] | None = None,
    wanted: str = "",
) -> Any:
    """read(the function's answer), tensors copied with their graphs, the random numbers the same in every call.

    described: the case, and wanted: what read takes, in words; without read, the answer itself. Raises NotAttempted for
    an empty function, and Fault for whatever else fails.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            answer = function(*map(_copied, arguments))
    except NotImplementedError:
        raise NotAttempted from None
    except Exception as error:  # whatever an answer raises is a fault of the answer
        raise Fault(f"on {described} your function raised {type(error).__name__}: {error}") from error
    if answer is None or answer is Ellipsis:
        raise NotAttempted
    if read is None:
        return answer
    try:
        return read(answer)
    except Exception:
        raise Fault(f"on {described} expected {wanted}; got {str(answer)[:200]}") from None


def _copied(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_copied(each) for each in argument]
    return argument.clone() if isinstance(argument, Tensor) else argument


def number(value: Any) -> float:
    """A number out of a number or a tensor with one entry."""
    return torch.as_tensor(value, dtype=torch.float64).detach().item()


def numbers(answer: Any, shape: tuple[int, ...], described: str) -> Tensor:
    """The answer as finite float64 numbers of that shape, with its graph where it has one. Raises Fault."""
    try:
        # What is no tensor yet is read in float64: torch would round it to float32.
        found = answer if isinstance(answer, Tensor) else torch.as_tensor(answer, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise Fault(f"on {described} numbers of shape {shape} are expected; got {str(answer)[:80]}") from None
    if found.shape != shape or found.is_complex():
        raise Fault(f"on {described} numbers of shape {shape} are expected; got shape {tuple(found.shape)}")
    if not found.isfinite().all():
        raise Fault(f"on {described} your answer is not finite: {str(found.tolist())[:120]}")
    return found.double().cpu()


def told(cases: Callable[[Any, int], Iterator[None]]) -> Callable[..., Iterator[str]]:
    """What an Exercise takes, of cases(answer, seed) that yield for every right case and raise Fault at a wrong one."""

    def faults(answer: Any, seed: int = 0) -> Iterator[str]:
        for _ in cases(answer, seed):
            yield ""

    return faults
