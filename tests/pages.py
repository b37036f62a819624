"""Pages of docs/ whose Python blocks run, and print what stands beside their prints."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
DOCS = Path(__file__).parents[1] / "docs"


def sections(page):
    """The blocks of a page, by the heading they stand under; "" for those above the first."""
    parts = re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)
    heads = ["", *(part.splitlines()[0] for part in parts[1:])]
    return {head: BLOCK.findall(part) for head, part in zip(heads, parts, strict=True)}


def said_and_printed(blocks, names):
    """What stands beside the prints of blocks, and what they print when they run with these names, line by line."""
    said = [line.split("  # ")[1] for block in blocks for line in block.splitlines() if "print(" in line]
    printed = io.StringIO()
    with redirect_stdout(printed):
        for block in blocks:
            exec(block, names)
    return said, printed.getvalue().splitlines()
