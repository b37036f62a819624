"""The explorers, one folder each: view.py computes, figure.py draws, widget.py moves.

A folder's __init__.py has the explorer's class and its EXAMPLES, by name; what is here is found by looking.
"""

import pkgutil
from importlib import import_module

from lliptools.teach.shared.example import Example

_FOLDERS = [import_module(f"{__name__}.{folder.name}") for folder in pkgutil.iter_modules(__path__)]
_NAMES = ("Explorer", "Playground")
_CLASSES = {name: found for folder in _FOLDERS for name, found in vars(folder).items() if name.endswith(_NAMES)}
_EXAMPLES = [pair for folder in _FOLDERS for pair in folder.EXAMPLES.items()]

# In the order of the course.
EXAMPLES: dict[str, Example] = dict(sorted(_EXAMPLES, key=lambda pair: pair[1].lesson))

globals().update(_CLASSES)
__all__ = ["EXAMPLES", *_CLASSES]
