"""How public functions are called: with options of their types, and by one thread at a time while a network is read."""

from collections.abc import Callable, Collection
from functools import wraps
from inspect import signature
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from torch import nn

from lliptools.errors import InvalidInput, in_words

LOCK = RLock()
P = ParamSpec("P")
R = TypeVar("R")


def options_checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function with an InvalidInput for an option, named in the call, that is not of the type of its default."""
    defaults = {name: each.default for name, each in signature(function).parameters.items()}

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in kwargs.items():
            default = defaults.get(name)
            if type(default) in (bool, int) and type(value) is not type(default):
                kind = "True or False" if isinstance(default, bool) else "a whole number"
                why = "an argument in another's place, or text", f"leave it at its default, {default!r}"
                raise InvalidInput(f"{name} as {kind}", repr(value)[:80], *why)
        return function(*args, **kwargs)

    return called


def check_function(name: str, function: Any, takes: str, next_step: str) -> Collection[str]:
    """The names of a function's parameters. Raises InvalidInput for one that does not take so many arguments."""
    with in_words(f"{name} as a function of ({takes})", "a name, a network, or what it would return", next_step):
        if isinstance(function, nn.Module):
            raise TypeError("a torch.nn.Module")
        parameters = signature(function)
        parameters.bind(*takes.split(", "))
    return parameters.parameters


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """A function that one thread runs at a time: weights and parts of a module are exchanged while it is read."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with LOCK:
            return function(*args, **kwargs)

    return called
