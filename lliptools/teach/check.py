"""The exercises of the notebooks, by name: `ll.check.NAME(answer)` and `ll.check.NAME.hint()`."""

from importlib import import_module
from pkgutil import iter_modules

from lliptools.teach import exercises

_files = [each.name for each in iter_modules(exercises.__path__) if each.name.startswith("nb")]
_notebooks = [import_module(f"{exercises.__name__}.{name}") for name in _files]
_found = {each.name: each for file in _notebooks for each in (getattr(file, name)() for name in file.__all__)}
globals().update(_found)
__all__ = list(_found)
