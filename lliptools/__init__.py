"""Local Lipschitz bounds of neural networks: compute them, certify with them, see them.

The public face, in the order of the pipeline. Every name is loaded from its room when it is first used, so that the
doctor can examine a machine on which torch does not load, and the engine runs without plotly, ipywidgets, scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lliptools import bounds, domains, layers, nets, paper, teach, training
    from lliptools.bounds import (
        BOUNDS,
        BlockBound,
        Bound,
        Box,
        exact_bound,
        global_bound,
        local_bound,
        merged_bound,
        sampled_bound,
        spectral_norm,
        tightest_bound,
    )
    from lliptools.certificates import attacks
    from lliptools.certificates.accuracy import AccuracyTable, AccuracyTables, certified_accuracy
    from lliptools.certificates.certificate import Certificate, certify
    from lliptools.certificates.linear import linear_margins
    from lliptools.certificates.radius import certified_radius
    from lliptools.certificates.stages import Cascade, certify_in_stages
    from lliptools.errors import InvalidInput, UnsupportedLayer
    from lliptools.exchange import export
    from lliptools.teach import check

__version__ = "0.2.0"

__all__ = [
    "BOUNDS",
    "AccuracyTable",
    "AccuracyTables",
    "BlockBound",
    "Bound",
    "Box",
    "Cascade",
    "Certificate",
    "InvalidInput",
    "UnsupportedLayer",
    "attacks",
    "bounds",
    "certified_accuracy",
    "certified_radius",
    "certify",
    "certify_in_stages",
    "check",
    "domains",
    "exact_bound",
    "export",
    "global_bound",
    "layers",
    "linear_margins",
    "local_bound",
    "merged_bound",
    "nets",
    "paper",
    "sampled_bound",
    "spectral_norm",
    "teach",
    "tightest_bound",
    "training",
]

_ROOMS = {name: f"lliptools.{name}" for name in ("paper", "nets", "domains", "bounds", "layers", "training", "teach")}
_ROOMS |= {"attacks": "lliptools.certificates.attacks", "check": "lliptools.teach.check"}
# Where the others are, in the order in which they are looked for.
_HOMES = ("errors", "bounds", "exchange", *(f"certificates.{of}" for of in ("accuracy", "linear", "radius", "stages")))


def __getattr__(name: str) -> Any:
    """The room or name, loaded now and kept."""
    if name not in __all__:
        raise AttributeError(f"module 'lliptools' has no attribute {name!r}")
    if name in _ROOMS:
        found = import_module(_ROOMS[name])
    else:
        homes = (import_module(f"lliptools.{home}") for home in _HOMES)
        found = next(getattr(home, name) for home in homes if hasattr(home, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
