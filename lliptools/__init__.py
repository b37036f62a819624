"""Local Lipschitz bounds of neural networks: compute them, certify with them, see them.

The public face, in the order of the pipeline: nets, bounds, certificates, training, teaching.
"""

from importlib import import_module
from typing import Any

from lliptools import attacks, bounds, nets
from lliptools.bounds import BOUNDS, BlockBound, Bound, Box, global_bound, local_bound
from lliptools.certificates import AccuracyTable, Certificate, certified_accuracy, certified_radius, certify
from lliptools.errors import InvalidInput, UnsupportedLayer

__version__ = "0.1.0.dev0"

__all__ = [
    "BOUNDS",
    "AccuracyTable",
    "BlockBound",
    "Bound",
    "Box",
    "Certificate",
    "InvalidInput",
    "UnsupportedLayer",
    "attacks",
    "bounds",
    "certified_accuracy",
    "certified_radius",
    "certify",
    "check",
    "global_bound",
    "local_bound",
    "nets",
    "teach",
    "training",
]

_LATER = {"training": "lliptools.training", "teach": "lliptools.teach", "check": "lliptools.teach.check"}


def __getattr__(name: str) -> Any:
    """Load training and teaching where they are used: the engine runs without plotly, ipywidgets and scikit-learn."""
    if name in _LATER:
        return import_module(_LATER[name])
    raise AttributeError(f"module 'lliptools' has no attribute {name!r}")
