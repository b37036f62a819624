"""The batch of points that a bound is given, and the device and the arithmetic that it is computed with."""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput
from lliptools.nets.layers import check_network

NO_FLOAT64 = ("mps",)  # devices, by type
PIXELS = 48  # values of a sample from which on whole numbers up to 255 may be an image
LEAST = 5e-324  # the smallest number above 0
PER_THREAD = 2**15  # terms of a sum that torch gives to one thread
POINTS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # each a float64 without rounding


def check_input(net: nn.Module, x: Tensor) -> Tensor:
    """The batch x, checked and flattened to float64: (batch, *shape) -> (batch, features).

    Raises InvalidInput for anything but a non-empty batch of finite floating-point samples on the network's device,
    and in a process that does not compute as the theorems ask (check_process). Warns of pixels in 0 to 255.
    """
    check_process()
    check_network(net)
    plain = isinstance(x, Tensor) and x.layout == torch.strided and not x.is_nested
    if not plain or x.dtype not in POINTS:
        got = (
            f"a {str(x.layout).removeprefix('torch.')} tensor of {x.dtype}"
            if isinstance(x, Tensor)
            else type(x).__name__
        )
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
    x = x.detach().to(home(x.device)).flatten(1).double()
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
