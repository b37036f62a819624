"""The arithmetic that this process is set to: what every bound takes for granted of it."""

import numpy as np
import torch

from lliptools.errors import InvalidInput

LEAST = 5e-324  # the smallest number above 0
PER_THREAD = 2**15  # terms of a sum that torch gives to one thread


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
