"""Build the site into site/: the pages of the repository, the notebooks, the gallery and the reference.

Run as `make site`. No page asks for anything outside: formulas are MathML, fonts are the reader's own.
"""

import base64
import re
import shutil
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pdoc
from latex2mathml.converter import convert
from mkdocs.commands.build import build
from mkdocs.config import load_config

from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.publish import gallery

ROOT = Path(__file__).parent.parent
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
NAMED = ("docs/*.md", "benchmarks/*.md", "benchmarks/results/*.md", "mutations/*.md", "*.md")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?!http|#)([^)\s#]+)")
PLAY = "<iframe src='{to}gallery/{name}.html' title='{title}' loading='lazy'></iframe>"


def main(site: Path) -> None:
    """Collect the sources in a folder of their own, and have mkdocs make pages of them."""
    pages = {path.relative_to(ROOT) for pattern in NAMED for path in ROOT.glob(pattern)}
    notebooks = sorted(path.relative_to(ROOT) for path in ROOT.glob("notebooks/*.ipynb"))
    with TemporaryDirectory() as folder:
        source = Path(folder)
        for page in pages:
            write(source, page, (ROOT / page).read_text(), {*pages, *notebooks})
        for notebook in notebooks:
            write(source, notebook, cells(notebook, source), {*pages, *notebooks})
        start = (source / "README.md").read_text()
        play = PLAY.format(to="", name="playground", title="The Playground")
        (source / "index.md").write_text(start.replace("## The idea", f"{play}\n\n## The idea"))
        (source / "README.md").unlink()
        gallery.write(source / "gallery")
        shutil.copy(ROOT / "tools" / "site.css", source / "site.css")
        pdoc.pdoc("lliptools", output_directory=source / "reference")
        course = [{path.stem.replace("_", " "): f"{path.with_suffix('.md')}"} for path in notebooks]
        nav = [{"Start": "index.md"}, {"Course": course}, {"Gallery": "gallery/index.html"}, *NAV]
        build(load_config(str(ROOT / "mkdocs.yml"), docs_dir=folder, site_dir=str(site), nav=nav, strict=True))


NAV = [
    {"Pages": ["docs/overview.md", "docs/your_network.md", "docs/supported.md", "docs/soundness.md"]},
    {"Words": ["docs/notation.md", "docs/glossary.md", "docs/statements.md"]},
    {"Results": ["benchmarks/RESULTS.md"]},
    {"Reference": "reference/lliptools.html"},
]


def write(source: Path, page: Path, text: str, pages: set[Path]) -> None:
    """A page among the sources, its formulas as MathML and its links as they lead in the site."""

    def link(found: re.Match[str]) -> str:
        target = (ROOT / page.parent / found[1]).resolve().relative_to(ROOT)
        if target in pages:
            return "index.md" if found[1] == "README.md" else str(Path(found[1]).with_suffix(".md"))
        if target.suffix not in {".png", ".webp"}:
            return f"{REPOSITORY}/blob/main/{target}"
        (source / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / target, source / target)
        return found[1]

    def prose(part: str) -> str:
        return LINK.sub(link, FORMULA.sub(formula, part))

    (source / page).parent.mkdir(parents=True, exist_ok=True)
    parts = CODE.split(text)
    parts[::2] = map(prose, parts[::2])
    (source / page).with_suffix(".md").write_text("".join(parts))


def formula(found: re.Match[str]) -> str:
    """A formula in LaTeX as MathML."""
    return convert(found[1] or found[2], display="block" if found[1] else "inline")


def cells(path: Path, source: Path) -> str:
    """A notebook as Markdown: each explorer as its page of the gallery, where its slider works."""
    notebook = nbformat.read(ROOT / path, as_version=4)
    parts = []
    for k, (cell, after) in enumerate(pairwise([*notebook.cells, nbformat.v4.new_markdown_cell()])):
        if cell.cell_type == "markdown":
            parts.append(cell.source.replace("<details>", "<details markdown>"))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            named = re.search(r"pictures/([\w-]+)_middle\.png", after.source)
            if "image/png" not in output.get("data", {}):
                said = output.get("text") or output.get("data", {}).get("text/plain", "")
                parts.append(f"```text\n{said.rstrip()}\n```")
            elif named and named[1] in EXAMPLES:
                parts.append(PLAY.format(to="../", name=named[1], title=EXAMPLES[named[1]].title))
            else:
                picture = source / "notebooks" / f"{path.stem}_{k}.png"
                picture.parent.mkdir(parents=True, exist_ok=True)
                picture.write_bytes(base64.b64decode(output.data["image/png"]))
                parts.append(f"<img src='{picture.name}' alt='{output.data['text/plain']}'>")
    return "\n\n".join(parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
