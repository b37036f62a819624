"""The hand-made faults apply to the code as it is, and the tests that they name are there."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = runpy.run_path(str(ROOT / "mutations" / "mutate.py"))
PATCHES = sorted((ROOT / "mutations").glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_it_applies_and_names_its_tests(patch):
    assert RUN["refusal"](patch) == ""
    _, tests, empty = patch.read_text().splitlines()[:3]
    assert tests.startswith("tests: tests/")
    assert not empty
    for test in tests.split()[1:]:
        path, *name = test.split("::")
        assert (ROOT / path).exists()
        assert not name or f"def {name[0]}(" in (ROOT / path).read_text()
