"""What the README says is true: its ten lines print what stands beside them, and what it links to is there."""

import io
import re
import tomllib
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

import lliptools as ll

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/results/*.md")]
README = (ROOT / "README.md").read_text()


def test_ten_lines_print_what_they_say():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    lines = [line for line in code.splitlines() if line.strip()]
    said = [line.rsplit("# ", 1)[1] for line in lines if line.startswith(("print", "#")) and "# " in line]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue().splitlines() == said
    assert len([line for line in lines if not line.startswith("#")]) <= 10


def test_the_loop_of_the_overview_trains():
    """A loop that is not ours, and three lines in it: the certified accuracy rises."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "overview.md").read_text(), re.DOTALL)[1]
    torch.manual_seed(0)
    names = {}
    exec(code, names)
    net, data = names["net"], names["data"]
    assert ll.certified_accuracy(net, data.x_test, data.y_test, 0.1).certified > 0.6
    plain = ll.nets.mlp(64, 64, 10, activation="clipped_relu", theta=0.3)
    assert ll.certified_accuracy(plain, data.x_test, data.y_test, 0.1).certified < 0.2


def test_the_readme_is_short():
    assert len(README.split()) <= 900
    cells = [cell for line in README.splitlines() if line.startswith("|") for cell in line.split("|")]
    assert max(map(len, cells)) <= 200


def test_the_yardstick_is_what_was_measured():
    """Its rows stand in the page that the benchmark writes."""
    page = (ROOT / "benchmarks" / "results" / "public.md").read_text()

    def numbers(text, name, step=1):
        (row,) = re.findall(rf"^\| (?:\*\*)?{re.escape(name)}[^|]*\|(.+)\|$", text, re.MULTILINE)
        return [cell.strip() for cell in row.split("|")][::step]

    assert numbers(README, "product of norms") == numbers(page, "global product")
    assert list(map(float, numbers(README, "here"))) == list(
        map(float, numbers(page, "tightest, linear, quadratic", step=2))
    )
    published = page.split("Published")[-1]
    assert numbers(README, "published attack") == numbers(published, "PGD")
    assert numbers(README, "published full") == numbers(published, "a full semidefinite")
    best = zip(*(numbers(published, name) for name in ("SDP-CROWN", "β-CROWN", "GCP-CROWN")), strict=True)
    found = [max((cell for cell in column if cell != "–"), key=float) for column in best]
    assert numbers(README, "best published") == found


def test_the_film_is_small():
    assert (ROOT / "docs" / "playground.webp").stat().st_size <= 1.5e6


def test_links_lead_somewhere():
    assert len(PAGES) > 10
    for page in PAGES:
        for name in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / name).exists(), f"{page.name}: {name}"


def test_notation_and_glossary_name_what_there_is():
    """Names in the notation are names of the code; terms of the glossary stand in their order, once."""
    text = (ROOT / "docs" / "notation.md").read_text()
    for name in re.findall(r"`ll\.([\w.]+)", text):
        found = ll
        for part in name.split("."):
            found = getattr(found, part)
    terms = re.findall(r"^\*\*(.+?)\*\* \(0", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert len(terms) > 30
    assert [term.lower() for term in terms] == sorted({term.lower() for term in terms})


def test_the_commands_of_the_readme_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_architecture_names_every_room():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = [path for path in (ROOT / "lliptools").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    for room in rooms:
        name = f"{room.name}/" if room.is_dir() else room.name
        assert name == "__init__.py" or f"`{name}`" in text, name


def test_architecture_names_rooms_in_the_order_of_their_imports():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    order = next(contract["layers"] for contract in contracts if contract["id"] == "rooms")[::-1]
    named = [re.search(rf"^\| .*`{room}(\.py|/)`", text, re.MULTILINE).start() for room in order[:-2]]
    assert named == sorted(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_stands_in_whole_blocks(page):
    text = page.read_text(encoding="utf-8")
    fences = [line for line in text.splitlines() if "```" in line]
    assert len(fences) % 2 == 0
    assert all(line.lstrip().startswith("```") for line in fences)
    for script in re.findall(r"python - .*<<'EOF'\n(.*?)\nEOF$", text, re.DOTALL | re.MULTILINE):
        compile(script, page.name, "exec")
