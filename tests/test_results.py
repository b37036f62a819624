"""Every benchmark that makes a page is run by benchmarks/run.py, and its page is found from benchmarks/RESULTS.md."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
RUN = runpy.run_path(str(BENCHMARKS / "run.py"))
PARTS = RUN["PARTS"]
PAGES = {path.name for path in (BENCHMARKS / "results").glob("*.md")}


def test_every_script_that_makes_a_page_is_a_part():
    makers = {script.stem for script in BENCHMARKS.glob("*.py") if f'"{script.stem}.md"' in script.read_text()}
    assert makers == {part.name for part in PARTS if part.script.exists()}
    assert {f"{maker}.md" for maker in makers} >= PAGES


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_input_exists(part):
    assert [path for path in part.inputs if not any(ROOT.glob(path))] == []


@pytest.mark.parametrize("part", [part for part in PARTS if part.page.exists()], ids=lambda part: part.name)
def test_a_summary_is_found_on_every_page(part):
    assert "|" in RUN["summary"](part) or part.name == "certified"  # which says it in words


def test_the_page_of_all_links_to_every_page_and_to_no_other():
    linked = re.findall(r"\]\(([^)#]+)\)", (BENCHMARKS / "RESULTS.md").read_text())
    assert {f"results/{page}" for page in PAGES} <= {*linked}
    assert [link for link in linked if not (BENCHMARKS / link).exists()] == []


def test_tables_are_cut_and_links_start_from_the_page_of_all():
    rows = RUN["ROWS"]
    table = "\n".join(["| a |", "| --- |", *(f"| {n} |" for n in range(rows + 3))])
    found = RUN["shortened"](f"before\n\n{table}\n\nafter")
    assert found.count("\n|") == rows + 2
    assert found.startswith("before")
    assert found.endswith("after")
