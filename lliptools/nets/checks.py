"""What a bound is given, checked before anything is computed: points, labels, radii, and the process itself."""

import warnings
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, check_whole
from lliptools.nets.calls import alone, check_function
from lliptools.nets.layers import check_network

NO_FLOAT64 = ("mps",)  # devices, by type
PIXELS = 48  # values of a sample from which on whole numbers up to 255 may be an image
LEAST = 5e-324  # the smallest number above 0
PER_THREAD = 2**15  # terms of a sum that torch gives to one thread
POINTS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # each a float64 without rounding
INTEGERS = {getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}


@alone
def check_input(net: nn.Module, x: Tensor) -> Tensor:
    """The batch x, checked and flattened to float64: (batch, *shape) -> (batch, features).

    Raises InvalidInput for anything but a non-empty batch of finite floating-point samples on the network's device,
    and in a process that does not compute as the theorems ask (check_process). Warns of pixels in 0 to 255.
    """
    check_process()
    check_network(net)
    if not is_plain(x) or x.dtype not in POINTS:
        got = f"a {x.layout} tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        cause = "an array, integer pixels, or a sparse or nested tensor"
        step = "torch.as_tensor(x).double() / 255, where pixels were from 0 to 1 in training"
        raise InvalidInput("x as a floating-point torch tensor of shape (batch, *sample)", got, cause, step)
    if x.dim() < 2 or x.shape[0] == 0 or x[0].numel() == 0:
        why = "a single point without its batch axis, or an empty selection", "pass x[None] for a single point"
        raise InvalidInput("x of shape (batch, *sample) with at least one sample", f"shape {tuple(x.shape)}", *why)
    if x.is_meta or device_of(net).type == "meta":
        why = "a network built without memory", 'net.to_empty(device="cpu"), then load its weights'
        raise InvalidInput("a network and points with values", "tensors on the device meta", *why)
    if x.device not in (device_of(net), home(device_of(net))):
        why = "only one of the two was moved", "x = x.to(next(net.parameters()).device)"
        raise InvalidInput(f"x on the network's device, {device_of(net)}", f"x on {x.device}", *why)
    x = x.detach().to(home(x.device), torch.float64, copy=True).flatten(1)  # what is found of x must not follow it
    if not x.isfinite().all():
        why = "a failed step before, such as a division by 0", "find them with torch.nonzero(~x.isfinite())"
        raise InvalidInput("finite values in x", f"{int((~x.isfinite()).sum())} NaN or infinite values", *why)
    if x.shape[1] >= PIXELS and 16 < x.max() <= 255 and x.min() >= 0 and (x == x.round()).all():
        warnings.warn(
            "x has whole numbers up to 255, as pixels have. The ball is in the units of x: where the network was "
            "trained on values from 0 to 1, pass x / 255",
            stacklevel=2,
        )
    return x


def is_plain(values: Any) -> TypeGuard[Tensor]:
    """Whether an object is a dense tensor, neither sparse nor nested."""
    return isinstance(values, Tensor) and values.layout == torch.strided and not values.is_nested


def home(device: torch.device) -> torch.device:
    """Where numbers of a device are computed with in float64: there, or on the CPU if it has none."""
    return torch.device("cpu") if device.type in NO_FLOAT64 else device


def device_of(net: nn.Module) -> torch.device:
    """The device of a network's first parameter; the CPU where it has none."""
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


def check_process() -> None:
    """Raise InvalidInput where numbers next to 0 are set to 0, or sums are not rounded to the nearest number.

    The setting belongs to a thread, and threads that torch has started keep the one they were started with: the sum
    below is worked on by all of them. It takes some 20 microseconds.
    """
    terms = PER_THREAD * torch.get_num_threads()
    found = float(torch.tensor(LEAST, dtype=torch.float64, device="cpu").expand(terms).sum())
    below_half = np.float64(2.0**-60)
    if not (found == terms * LEAST > 0 and np.float64(LEAST) + np.float64(LEAST) > 0):
        why = "torch.set_flush_denormal(True), or a library built with -ffast-math", "leave it out, in a new process"
        raise InvalidInput("a process that computes with numbers below 2.2e-308", "sums of them that are 0", *why)
    if not 1 + below_half == 1 - below_half == 1:
        why = "fesetround, called by a library", "set it back to FE_TONEAREST"
        raise InvalidInput("rounding to nearest", f"{1 + below_half!r}, {1 - below_half!r} for 1 ± 2^-60", *why)


def check_labels(y: Tensor, batch: int, classes: int, device: torch.device) -> Tensor:
    """The labels, checked: integers of shape (batch,) in 0 … classes − 1. Raises InvalidInput for anything else."""
    if classes < 2:
        why = "a single score, which has no margin", "give the network one output per class"
        raise InvalidInput("a network with at least two outputs", f"{classes}", *why)
    wrong = None
    if not is_plain(y) or y.is_meta or y.dtype not in INTEGERS:
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


def check_domain(domain: tuple[float, float], x: Tensor) -> None:
    """Raises InvalidInput for a domain that is not (low, high), or that does not contain x."""
    if not (isinstance(domain, tuple) and len(domain) == 2 and all(_is_end(end) for end in domain)):
        why = "one number, or tensors", "pass (0.0, 1.0) for pixels"
        raise InvalidInput("a domain as a tuple (low, high) of two numbers", repr(domain)[:80], *why)
    low, high = domain
    if not (low < high and (x >= low).all() and (x <= high).all()):
        why = "inputs that were normalised afterwards", "pass the range in the units of x"
        raise InvalidInput("(low, high) around x", f"{domain} for {x.min().item():g} to {x.max().item():g}", *why)


def check_stages(domain: object, norm: object) -> None:
    """Raises InvalidInput unless a domain can start and a norm can be called."""
    if not callable(getattr(domain, "start", None)):
        why = "a name, or a pair (low, high)", "pass Interval.confined(low, high) & Ball"
        raise InvalidInput("a domain as Interval & Ball", f"{domain!r:.40}", *why)
    if norm is not None:
        check_function("norm", norm, "linear, row_slope, column_slope", "pass bounds.exact_norm itself")


def check_steps(steps: int) -> None:
    """Raises InvalidInput for anything but a whole number >= 0."""
    why = "a radius or a tolerance instead of the steps", "0 for the closed form, 8 or 60 for a better bound"
    check_whole("steps", steps, 0, *why)


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
    return is_plain(values) and not values.is_complex() and values.dtype != torch.bool


def _is_end(end: object) -> bool:
    """Whether a number is what torch will compare with: an integer beyond 2^53 is not."""
    return isinstance(end, float) or (isinstance(end, int) and not isinstance(end, bool) and abs(end) <= 2**53)
