"""Which device is meant, refused where this machine does not have it."""

import torch

from lliptools.errors import InvalidInput


def as_device(device: str | torch.device) -> torch.device:
    """The device, after a trial; "auto" is CUDA where there is one, else the CPU.

    Raises InvalidInput for a name that is none, and for one that is not here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:  # torch raises all of them
        cause = str(error).strip().splitlines()[0].rstrip(".") or "a device that is not here"
        step = "`lliptools doctor` says which there are"
        expected = '"auto", or a device of this machine, as "cpu" or "cuda"'
        raise InvalidInput(expected, repr(device)[:80], cause, step) from error
    return found
