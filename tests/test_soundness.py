"""The page on soundness: every block runs, and prints what stands beside its prints."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "soundness.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
HEADS = [section.splitlines()[0] for section in SECTIONS[1:]]


def test_there_are_sixteen():
    assert [head.split(".")[0] for head in HEADS] == [str(number) for number in range(1, 17)]


@pytest.mark.parametrize("head", HEADS)
def test_a_section_prints_what_it_says(head):
    names = {}
    exec(BLOCK.search(SECTIONS[0])[1], names)
    section = SECTIONS[1 + HEADS.index(head)]
    blocks = BLOCK.findall(section)
    said = [line.split("  # ")[1] for block in blocks for line in block.splitlines() if "print(" in line]
    printed = io.StringIO()
    with redirect_stdout(printed):
        for block in blocks:
            exec(block, names)
    assert printed.getvalue().splitlines() == said
    assert len(said) >= 2
