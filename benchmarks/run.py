"""Benchmarks by name, and one page of what all of them found: benchmarks/RESULTS.md.

python benchmarks/run.py scaling layers    # measures these, and writes the page
python benchmarks/run.py                   # only the page, from the pages in benchmarks/results
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROWS = 25  # of a table that are repeated
# Of every page: the heading of the section that is repeated (empty: what stands first), minutes, and what it needs.
PAGES = {
    "bounds": ("ladder", 15, "MNIST"),
    "layers": ("Side by side", 2, ""),
    "training": ("Step", 2, "MNIST"),
    "scaling": ("Exponents", 8, ""),
    "latency": ("", 10, "Chromium, a machine at rest"),
    "shipped": ("mnist,", 15, "MNIST"),
    "certified": ("Was it", 600, "MNIST, CIFAR-10"),
    "bound_or_loss": ("mnist-mlp", 40, "MNIST"),
    "gpu": ("Kernels", 9, "a GPU; `--toy` rehearses on the CPU"),
    "soundness": ("", 100, ""),
    "release": ("", 0, ""),
    "varying": ("", 0, ""),
    "search": ("mnist-mlp", 0, ""),
    "public": ("", 10, "networks of the SDP-CROWN paper"),
    "onnx_files": ("", 5, "networks in ONNX files"),
}


def summary(name: str) -> str:
    """What a page says first, and the section that PAGES names; tables are cut, links start from RESULTS.md."""
    opening, *sections = re.split(r"^## ", (HERE / "results" / f"{name}.md").read_text(), flags=re.MULTILINE)
    text, shown = opening.split("\n", 1)[1].strip(), PAGES[name][0]
    if shown:
        text += "\n\n### " + next(section for section in sections if section.startswith(shown)).strip()
    text = re.sub(
        rf"((?:^\|.*\n){{{ROWS + 2}}})(?:^\|.*\n?)+", r"\1\n(More rows on that page.)\n", text, flags=re.MULTILINE
    )
    return re.sub(r"\]\(([\w.-]+\.md)", r"](results/\1", text).strip()


def section(name: str) -> str:
    """Of RESULTS.md."""
    page = HERE / "results" / f"{name}.md"
    title = page.read_text().split("\n", 1)[0].removeprefix("# ")
    _, minutes, needs = PAGES[name]
    again = f"`python benchmarks/{name}.py`, about {minutes} minutes; needs {needs or 'nothing else'}. "
    opening = f"{again if minutes else ''}All of it: [{title}](results/{name}.md)."
    return f"## {name}\n\n{opening}\n\n{summary(name)}\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        subprocess.run([sys.executable, HERE / f"{name}.py"], check=True)
    opening = "# Results\n\nWritten by `python benchmarks/run.py` from the pages in [results](results), cut short.\n\n"
    (HERE / "RESULTS.md").write_text(opening + "\n".join(map(section, PAGES)))
