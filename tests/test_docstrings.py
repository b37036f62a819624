"""Every public method says what it does, and the examples in docstrings print what stands under them."""

import doctest
import inspect
from functools import cached_property
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lliptools"
RUN_BY_OTHERS = {"__main__", "nbgrader_config"}
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem not in RUN_BY_OTHERS and "exercises" not in path.parts  # Exercise says what check and cases are
]
WITH_EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples(path):
    module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("name", MODULES)
def test_public_methods_say_what_they_do_or_override_one_that_does(name):
    module = import_module(name)
    for kind in vars(module).values():
        if not inspect.isclass(kind) or kind.__module__ != name or kind.__name__.startswith("_"):
            continue
        for method, found in vars(kind).items():
            is_method = inspect.isroutine(found) or isinstance(found, property | cached_property)
            if is_method and not method.startswith("_"):
                assert inspect.getdoc(getattr(kind, method)), f"{kind.__name__}.{method}"
