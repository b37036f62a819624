"""A second device for machines that have none: its tensors say that they lie elsewhere, and the CPU computes on them.

Operations that mix both devices raise, as a GPU would. What makes a GPU wait is counted by the function of lliptools
that asked for it: values that are looked at, and tensors that are copied to the other device.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import lliptools

__all__ = ["SECOND", "Waits", "second_device"]

SECOND = torch.device("lazy:0")  # a name that torch knows and that needs no driver
ROOT = str(Path(lliptools.__file__).parent)
TAKES_INDICES = {"aten::index", "aten::index_put_"}  # also those of the CPU
MADE_ON_THE_CPU = {torch.tensor, torch.as_tensor, Tensor.new_tensor}  # and copied, without asking a mode


@dataclass
class Waits:
    """How often something was waited for, by "file:function"."""

    looks: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Begin to count anew."""
        self.looks.clear()
        self.copies.clear()


class Generator(torch.Generator):
    """torch's own for the CPU, also where one of the second device is asked for."""

    def __new__(cls, device: str | torch.device = "cpu") -> torch.Generator:
        return super().__new__(torch.Generator)


class Elsewhere(Tensor):
    """A tensor of the second device."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        found = Tensor._make_wrapper_subclass(
            *(cls, here.size()),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=SECOND,
        )
        found.here = here
        return found

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{function} outside of second_device()")


def _place() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(ROOT):
            return f"{frame.f_code.co_filename.removeprefix(ROOT)[1:]}:{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside"


class _Operations(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function._schema.name
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = {id(each.here): each for each in tensors if isinstance(each, Elsewhere)}
        here = [each for each in tensors if not isinstance(each, Elsewhere)]
        if there and any(each.dim() for each in here):
            if not (name == "aten::copy_" or (name in TAKES_INDICES and isinstance(args[0], Elsewhere))):
                raise RuntimeError(f"{name} of tensors on two devices")
            self.waits.copies[_place()] += 1
        result_there = bool(there)
        if kwargs.get("device") is not None:
            wanted = torch.device(kwargs["device"]).type == SECOND.type
            if tensors and wanted != result_there:
                self.waits.copies[_place()] += 1
            result_there, kwargs = wanted, {**kwargs, "device": torch.device("cpu")}
        if there and name in {"aten::_local_scalar_dense", "aten::_linalg_check_errors", "aten::nonzero"}:
            self.waits.looks[_place()] += 1
        args, kwargs = tree_map_only(Elsewhere, lambda each: each.here, (args, kwargs))
        found = function(*args, **kwargs)
        if not result_there:
            return found
        return tree_map_only(Tensor, lambda each: there[id(each)] if id(each) in there else Elsewhere(each), found)


class _Functions(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in MADE_ON_THE_CPU:
            device = kwargs.pop("device", None)
            if function is Tensor.new_tensor:
                like, *args = args
                device, function = device or like.device, torch.tensor
                kwargs = {"dtype": like.dtype, **kwargs}
            found = function(*args, **kwargs)
            return found if device is None else found.to(device)
        if function in {Tensor.tolist, Tensor.__format__} and isinstance(args[0], Elsewhere):
            self.waits.looks[_place()] += 1
            return function(args[0].here, *args[1:])
        return function(*args, **kwargs)


@contextmanager
def second_device() -> Iterator[Waits]:
    """Inside, SECOND is a device as any other; yields the count of what would make a GPU wait."""
    waits, autocast = Waits(), torch.autocast
    with ExitStack() as stack:
        # What torch itself does not have for this name.
        stack.enter_context(patch("torch.autocast", lambda device, **rest: autocast("cpu", **rest)))
        stack.enter_context(patch("torch.Generator", Generator))
        stack.enter_context(_Functions(waits))
        stack.enter_context(_Operations(waits))
        yield waits
