"""Labels and radii, checked: bad ones raise before anything is computed."""

import numpy as np
import torch
from torch import Tensor

from lliptools.errors import InvalidInput

__all__ = [
    "check_domain",
    "check_eps",
    "check_finite_eps",
    "check_labels",
    "check_probability",
    "check_stages",
    "check_steps",
    "check_tolerance",
]


def check_labels(y: Tensor, batch: int, classes: int, device: torch.device) -> Tensor:
    """The labels, checked: integers of shape (batch,) in 0 … classes − 1. Raises InvalidInput for anything else."""
    if classes < 2:
        raise InvalidInput(
            expected="a network with at least two outputs",
            got=f"{classes}",
            cause="a single score, which has no margin",
            next_step="give the network one output per class",
        )
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
        raise InvalidInput(expected=expected, got=wrong[0], cause=wrong[1], next_step=wrong[2])
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
        raise InvalidInput(
            expected="eps as a number, or a tensor of one radius per point",
            got=repr(eps)[:80],
            cause="a value that is not a number",
            next_step="pass a float",
        ) from error
    if radius.shape not in {torch.Size([]), torch.Size([len(x)])}:
        raise InvalidInput(
            expected=f"eps as one number or a tensor of shape ({len(x)},), one radius per point",
            got=f"shape {tuple(radius.shape)}",
            cause="radii of another batch",
            next_step="to try many radii at one point, pass x.expand(len(eps), -1)",
        )
    if not (radius >= 0).all():
        raise InvalidInput(
            expected="eps >= 0",
            got=f"{radius[~(radius >= 0)].flatten()[0]:g}" if radius.dim() else f"{radius:g}",
            cause="a radius below 0 or not a number",
            next_step="pass the radius of the ball around x, in the units of x",
        )
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
        raise InvalidInput(
            expected="a domain as a tuple (low, high) of two numbers",
            got=repr(domain)[:80],
            cause="one number, or tensors",
            next_step="pass (0.0, 1.0) for pixels",
        )
    low, high = domain
    if not (low < high and (x >= low).all() and (x <= high).all()):
        raise InvalidInput(
            expected="a domain (low, high) that contains every value of x",
            got=f"{domain} for values from {x.min().item():g} to {x.max().item():g}",
            cause="inputs that were normalised after the domain was noted",
            next_step="pass the range of x in the units that the network sees",
        )


def check_stages(domain: object, norm: object) -> None:
    """Raises InvalidInput unless a domain can start and a norm can be called."""
    if not callable(getattr(domain, "start", None)) or not (norm is None or callable(norm)):
        raise InvalidInput(
            expected="domain as a domain such as Interval & Ball, norm as a function",
            got=f"{domain!r:.40}, {norm!r:.40}",
            cause="the name of a method, or a pair (low, high), for which there is Interval.confined",
            next_step="pass lliptools.domains.Interval, or lliptools.bounds.exact_norm itself",
        )


def check_steps(steps: int) -> None:
    """Raises InvalidInput for anything but a whole number >= 0."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise InvalidInput(
            expected="steps as a whole number >= 0",
            got=repr(steps)[:80],
            cause="a radius or a tolerance in the place of the steps",
            next_step="0 for the closed form, 8 for a better bound, 60 for the best",
        )


def check_tolerance(tolerance: float) -> None:
    """Raises InvalidInput unless 1e-12 <= tolerance < 1."""
    if not isinstance(tolerance, float) or not 1e-12 <= tolerance < 1:
        raise InvalidInput(
            expected="a relative tolerance from 1e-12 to below 1",
            got=f"{tolerance}",
            cause="an absolute tolerance, or a percentage",
            next_step="leave it at its default",
        )


def check_probability(delta: float) -> None:
    """Raises InvalidInput unless 0 < delta < 1."""
    if isinstance(delta, bool) or not isinstance(delta, float) or not 0 < delta < 1:
        raise InvalidInput(
            expected="delta as a probability between 0 and 1, both left out",
            got=repr(delta)[:80],
            cause="a certainty that no random start gives, or a percentage",
            next_step="leave it at 1e-9",
        )


def check_finite_eps(eps: float | Tensor, x: Tensor) -> Tensor:
    """As check_eps, for what searches a ball. Raises InvalidInput for an infinite radius too."""
    radius = check_eps(eps, x)
    if not radius.isfinite().all():
        raise InvalidInput(
            expected="a finite radius",
            got="inf",
            cause="the whole space, which no search of a ball can cover",
            next_step="take a finite eps, or use global_bound",
        )
    return radius


def _is_real(values: Tensor) -> bool:
    return not values.is_complex() and values.dtype != torch.bool and values.layout == torch.strided


def _is_end(end: object) -> bool:
    """Whether a number is what torch will compare with: an integer beyond 2^53 is not."""
    return isinstance(end, float) or (isinstance(end, int) and not isinstance(end, bool) and abs(end) <= 2**53)
