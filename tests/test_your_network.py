"""The page on networks that people have: every block runs, and prints what stands beside its prints."""

import pytest
from pages import said_and_printed, sections

SECTIONS = sections("your_network.md")
NAMES = {"__name__": "page"}  # a section may use the network of the one before


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what torch's exporter imports warns of itself
def test_sections_print_what_they_say():
    pytest.importorskip("onnx", reason="the extra that the tests install is not there")
    said_and_printed(SECTIONS[""], NAMES)
    for head, blocks in SECTIONS.items():
        if head:
            said, printed = said_and_printed(blocks, NAMES)
            assert printed == said, head
            assert said
