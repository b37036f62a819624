"""The frame of a page of the gallery: title, question, slider, and what they move."""

import base64
import html
from pathlib import Path
from string import Template

from lliptools.teach.shared.example import Example

HERE = Path(__file__).parent


def page(
    example: Example, control: str, last: int, start: int, *, body: str, parcel: bytes, script: str, head: str = ""
) -> str:
    """A page whose slider runs from 0 to last; the script reads the compressed parcel and fills the body."""
    return Template(read("page.html")).substitute(
        title=html.escape(example.title),
        question=html.escape(example.question),
        control=html.escape(control),
        last=last,
        start=start,
        body=body,
        parcel=base64.b64encode(parcel).decode(),
        script=script,
        head=head,
    )


def read(name: str) -> str:
    """A file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")
