"""The two errors of the library. Each takes what was expected, what came, the likely cause and the next step."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager


class InvalidInput(ValueError):
    """An argument from which no true number can be computed."""

    def __init__(self, expected: str, got: str, cause: str, next_step: str) -> None:
        super().__init__(f"expected {expected}; got {got}. Likely cause: {cause}. Next step: {next_step}.")


class UnsupportedLayer(TypeError):
    """A network, or a layer of it, for which no rule is known."""

    def __init__(self, expected: str, got: str, cause: str, next_step: str) -> None:
        super().__init__(f"{got}: {cause}. Next step: {next_step}. Expected {expected}.")
        self.said = {"expected": expected, "got": got, "cause": cause, "next_step": next_step}

    def within(self, name: str) -> "UnsupportedLayer":
        """The same of a part of the network that has a name."""
        return UnsupportedLayer(**{**self.said, "got": f"{self.said['got']} in {name}"})


def check_whole(name: str, value: object, least: int, cause: str, next_step: str) -> None:
    """Raise InvalidInput for anything but a whole number that is not below the least."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} as a whole number >= {least}", repr(value)[:80], cause, next_step)


def check_among(name: str, value: object, names: Collection[str], next_step: str) -> None:
    """Raise InvalidInput for anything but one of these names."""
    if not (isinstance(value, str) and value in names):
        why = "a spelling that differs, or something that has no rule here", next_step
        raise InvalidInput(f"{name} as one of {', '.join(names)}", repr(value)[:80], *why)


@contextmanager
def in_words(expected: str, cause: str, next_step: str) -> Iterator[None]:
    """Whatever torch or Python raises inside becomes an InvalidInput that says what was expected."""
    try:
        yield
    except (InvalidInput, UnsupportedLayer):
        raise
    except Exception as error:
        raise InvalidInput(expected, f"{type(error).__name__}: {first_line(error)}", cause, next_step) from error


def first_line(error: Exception) -> str:
    """What an error says, up to its first line; "nothing" where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "nothing")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which optional extra to install where an import fails for the want of it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "lliptools").startswith("lliptools"):
            raise
        why = f"an installation without the extra `{name}`", f'pip install "lliptools[{name}]"'
        raise InvalidInput(f"the packages of the extra `{name}`", str(error), *why) from error
