"""The page on soundness: every block runs, and prints what stands beside its prints."""

import pytest
from pages import said_and_printed, sections

SECTIONS = sections("soundness.md")


def test_there_are_nineteen():
    assert [head.split(".")[0] for head in SECTIONS if head] == [str(number) for number in range(1, 20)]


@pytest.mark.parametrize("head", [head for head in SECTIONS if head])
def test_a_section_prints_what_it_says(head):
    names = {}
    said_and_printed(SECTIONS[""][:1], names)
    said, printed = said_and_printed(SECTIONS[head], names)
    assert printed == said
    assert len(said) >= 2
