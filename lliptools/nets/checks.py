"""Labels and radii, checked: bad ones raise before anything is computed."""

import numpy as np
import torch
from torch import Tensor

from lliptools.errors import InvalidInput


def check_labels(y: Tensor, batch: int, classes: int, device: torch.device) -> Tensor:
    """The labels, checked: integers of shape (batch,) in 0 … classes − 1. Raises InvalidInput for anything else."""
    if classes < 2:
        why = "a single score, which has no margin", "give the network one output per class"
        raise InvalidInput("a network with at least two outputs", f"{classes}", *why)
    integers = isinstance(y, Tensor) and not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    wrong = None
    if not integers or y.layout != torch.strided:
        got = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        wrong = got, "labels in another form", "torch.as_tensor(y, dtype=torch.int64)"
    elif y.shape != (batch,):
        wrong = f"shape {tuple(y.shape)}", "labels of other points, or one-hot rows", "pass one class index per point"
    elif not (((found := y.to(device=device, dtype=torch.int64)) >= 0) & (found < classes)).all():
        got = f"values from {int(found.min())} to {int(found.max())}"
        wrong = got, "labels that start at 1, or a network for fewer classes", "check which classes the outputs are of"
    if wrong is not None:
        expected = f"y as an integer tensor of shape ({batch},) with classes 0 to {classes - 1}"
        raise InvalidInput(expected, wrong[0], wrong[1], wrong[2])
    return found


def check_eps(eps: float | Tensor, x: Tensor) -> Tensor:
    """The radii as (batch,) float64 on x's device, never below what was given.

    Raises InvalidInput for a negative one, NaN or another shape.
    """
    try:
        if not (_is_real(eps) if isinstance(eps, Tensor) else np.asarray(eps).dtype.kind not in "bc"):
            raise TypeError("not a number")
        radius = torch.as_tensor(eps, dtype=torch.float64, device=x.device).detach()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        why = "a value that is not a number", "pass a float"
        raise InvalidInput("eps as a number, or a tensor of one radius per point", repr(eps)[:80], *why) from error
    if radius.shape not in {torch.Size([]), torch.Size([len(x)])}:
        why = "radii of another batch", "to try many radii at one point, pass x.expand(len(eps), -1)"
        raise InvalidInput(f"eps as one number or of shape ({len(x)},)", f"shape {tuple(radius.shape)}", *why)
    if not (radius >= 0).all():
        why = "a radius below 0 or not a number", "pass the radius of the ball around x, in the units of x"
        raise InvalidInput("eps >= 0", f"{radius[~(radius >= 0)].flatten()[0]:g}", *why)
    if not (isinstance(eps, float) or (isinstance(eps, Tensor) and eps.is_floating_point())):
        # What is neither whole nor of floating point may have been rounded, to a smaller ball.
        whole = (radius == radius.round()) & (radius < 2**53)
        radius = torch.where(whole, radius, radius.nextafter(torch.full_like(radius, torch.inf)))
    return radius.expand(len(x)).clone()


def check_domain(domain: tuple[float, float] | None, x: Tensor) -> None:
    """Raises InvalidInput for a domain that is not (low, high), or that does not contain x."""
    if domain is None:
        return
    if not (isinstance(domain, tuple) and len(domain) == 2 and all(_is_end(end) for end in domain)):
        why = "one number, or tensors", "pass (0.0, 1.0) for pixels"
        raise InvalidInput("a domain as a tuple (low, high) of two numbers", repr(domain)[:80], *why)
    low, high = domain
    if not (low < high and (x >= low).all() and (x <= high).all()):
        why = "inputs that were normalised afterwards", "pass the range in the units of x"
        raise InvalidInput("(low, high) around x", f"{domain} for {x.min().item():g} to {x.max().item():g}", *why)


def check_stages(domain: object, norm: object) -> None:
    """Raises InvalidInput unless a domain can start and a norm can be called."""
    if not callable(getattr(domain, "start", None)) or not (norm is None or callable(norm)):
        why = "a name, or a pair (low, high)", "pass Interval.confined(low, high), or bounds.exact_norm itself"
        raise InvalidInput("a domain as Interval & Ball, norm as a function", f"{domain!r:.40}, {norm!r:.40}", *why)


def check_steps(steps: int) -> None:
    """Raises InvalidInput for anything but a whole number >= 0."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        why = "a radius or a tolerance in the place of the steps", "0 for the closed form, 8 or 60 for a better bound"
        raise InvalidInput("steps as a whole number >= 0", repr(steps)[:80], *why)


def check_tolerance(tolerance: float) -> None:
    """Raises InvalidInput unless 1e-12 <= tolerance < 1."""
    if not isinstance(tolerance, float) or not 1e-12 <= tolerance < 1:
        why = "an absolute tolerance, or a percentage", "leave it at its default"
        raise InvalidInput("a relative tolerance from 1e-12 to below 1", f"{tolerance}", *why)


def check_probability(delta: float) -> None:
    """Raises InvalidInput unless 0 < delta < 1."""
    if isinstance(delta, bool) or not isinstance(delta, float) or not 0 < delta < 1:
        why = "a certainty that no random start gives, or a percentage", "leave it at 1e-9"
        raise InvalidInput("delta as a probability between 0 and 1, both left out", repr(delta)[:80], *why)


def check_finite_eps(eps: float | Tensor, x: Tensor) -> Tensor:
    """As check_eps, for what searches a ball. Raises InvalidInput for an infinite radius too."""
    radius = check_eps(eps, x)
    if not radius.isfinite().all():
        why = "the whole space, which no search of a ball can cover", "take a finite eps, or use global_bound"
        raise InvalidInput("a finite radius", "inf", *why)
    return radius


def _is_real(values: Tensor) -> bool:
    return not values.is_complex() and values.dtype != torch.bool and values.layout == torch.strided


def _is_end(end: object) -> bool:
    """Whether a number is what torch will compare with: an integer beyond 2^53 is not."""
    return isinstance(end, float) or (isinstance(end, int) and not isinstance(end, bool) and abs(end) <= 2**53)
