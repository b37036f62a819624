"""What a reader sees: figures, widgets, exercises that check themselves, and the doctor."""

from importlib import import_module
from typing import Any

__all__ = ["check", "doctor", "figures", "views", "widgets"]


def __getattr__(name: str) -> Any:
    """Load each room where it is used: only widgets needs ipywidgets, only figures plotly."""
    if name in __all__:
        return import_module(f"lliptools.teach.{name}")
    raise AttributeError(f"module 'lliptools.teach' has no attribute {name!r}")
