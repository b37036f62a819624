"""What a reader sees: explorers, exercises that check themselves, and the doctor."""

from importlib import import_module
from typing import Any

from lliptools.errors import extra

_HOMES = {
    "scale_thresholds": "lliptools.teach.shared.efforts",
    "NormView": "lliptools.teach.explorers.norms.view",
    "plot": "lliptools.teach.shared.curves",
    "Number": "lliptools.teach.shared.prediction",
    "Prediction": "lliptools.teach.shared.prediction",
    "show_attack": "lliptools.teach.shared.attack_figure",
}
_ROOMS = ("check", "doctor", "explorers")
__all__ = [*_ROOMS, *_HOMES]


def __getattr__(name: str) -> Any:
    """Load each room where it is used: only explorers need ipywidgets and plotly. Every explorer is found by name."""
    with extra("widgets"):
        if name in _ROOMS:
            return import_module(f"lliptools.teach.{name}")
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        if name[:1].isupper() and name in (explorers := import_module("lliptools.teach.explorers")).__all__:
            return getattr(explorers, name)
    raise AttributeError(f"module 'lliptools.teach' has no attribute {name!r}")
