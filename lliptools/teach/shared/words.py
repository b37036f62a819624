"""The call that opens the present view of an explorer; names that have to be short."""

import math
from collections.abc import Mapping


def call(name: str, source: str, keywords: Mapping[str, object]) -> str:
    """The call of an explorer, as code; source: what is explored, as code."""
    given = [f"{key}={_spelled(value)}" for key, value in keywords.items()]
    return f"ll.teach.{name}({', '.join([source, *given] if source else given)})"


def shortened(name: str, most: int) -> str:
    """A name, without its middle where it has more letters."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[len(name) - (most - 1) // 2 :]}"


def _spelled(value: object) -> str:
    """A value as code: as short as it can be without meaning another number."""
    if not isinstance(value, float):
        return repr(value)
    if not math.isfinite(value):
        return f"float('{value}')"
    short = f"{value:.6g}"
    return short if math.isclose(float(short), value, rel_tol=1e-12) else repr(value)
