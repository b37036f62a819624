"""The page on extending: every block runs, and prints what stands beside its prints."""

import pytest
from pages import said_and_printed, sections

SECTIONS = sections("extending.md")


def test_what_can_be_added():
    wanted = "An activation, A norm, A domain, A bound, A 1-Lipschitz layer, An explorer, An exercise, A notebook"
    assert [*SECTIONS][1:] == wanted.split(", ")


@pytest.mark.parametrize("head", [head for head, blocks in SECTIONS.items() if head and blocks])
def test_a_section_prints_what_it_says(head):
    names = {"__name__": "page"}
    said_and_printed(SECTIONS[""], names)
    said, printed = said_and_printed(SECTIONS[head], names)
    assert printed == said
    assert said
