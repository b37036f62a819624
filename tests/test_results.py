"""Every page of benchmarks/results is on the page of all, and every script that makes one can be run."""

import re
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PAGES = {path.stem for path in (BENCHMARKS / "results").glob("*.md")}
SCRIPTS = [script for script in BENCHMARKS.glob("*.py") if f'"{script.stem}.md"' in script.read_text()]


@pytest.fixture(autouse=True)
def _benchmarks_import_each_other(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_script_loads_and_its_page_is_there(script):
    runpy.run_path(str(script))
    assert script.stem in PAGES


def test_the_page_of_all_links_to_every_page_and_to_no_other():
    text = (BENCHMARKS / "RESULTS.md").read_text()
    linked = re.findall(r"\]\(([^)#]+)\)", text)
    assert {f"results/{page}.md" for page in PAGES} <= {*linked}
    assert [link for link in linked if not (BENCHMARKS / link).exists()] == []


def test_what_the_page_of_all_repeats_is_on_the_pages():
    run = runpy.run_path(str(BENCHMARKS / "run.py"))
    assert {*run["PAGES"]} == PAGES
    for name in PAGES:
        text = run["summary"](name)
        assert "|" in text or name == "certified"  # which says it in words
        rows = max((len(table.splitlines()) for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)), default=0)
        assert rows <= run["ROWS"] + 2
