"""Every benchmark by one command, and one page of what they found: benchmarks/RESULTS.md.

    python benchmarks/run.py                  # what has changed since it was measured, but for what is run by name only
    python benchmarks/run.py scaling layers   # these, changed or not
    python benchmarks/run.py --all            # all of them, changed or not: days
    python benchmarks/run.py --list           # what is fresh, what is stale, and why
    python benchmarks/run.py --page           # only RESULTS.md, from the pages that are there

Git knows what has changed: a page is stale where an input of its part differs between the commit that last touched the
page and the working tree. So commit a page together with the code that it measures, or after it. A page that is not
committed yet is stale where such an input is newer than its file.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "RESULTS.md"
DATA = "LLIPTOOLS_DATA"
ROWS = 25  # of a table that are shown here

# Inputs are paths from the root as git reads them, where * stands for any characters.
READ = (  # of a network, on its way to a bound
    *("activations", "pairs", "rules", "operators", "linear", "residual", "designed", "images", "layers", "blocks"),
    "architectures",
)
NETS = tuple(f"lliptools/nets/{name}.py" for name in READ)
BOUNDS = (
    "benchmarks/common.py",
    "lliptools/bounds",
    "lliptools/domains",
    "lliptools/norms",
    *NETS,
    "lliptools/certificates/margins.py",
)
CERTIFICATES = ("lliptools/certificates",)
TRAINING = ("lliptools/training", "lliptools/layers/*.py")
WEIGHTS = "lliptools/nets/weights"


@dataclass(frozen=True)
class Part:
    """A benchmark: benchmarks/NAME.py writes benchmarks/results/NAME.md.

    inputs: what it measures, beside its script. shown: the heading of the section of its page that RESULTS.md repeats.
    minutes: about how long it takes. needs_data: whether it reads data sets from LLIPTOOLS_DATA. by_name: why it is
    run only when named, empty where it is not. knows_lines: whether its script knows itself which lines are stale.
    """

    name: str
    inputs: tuple[str, ...]
    shown: str
    minutes: int
    needs_data: bool = False
    by_name: str = ""
    knows_lines: bool = False

    @property
    def script(self) -> Path:
        """What measures."""
        return HERE / f"{self.name}.py"

    @property
    def page(self) -> Path:
        """What was found."""
        return HERE / "results" / f"{self.name}.md"

    @property
    def lines(self) -> Path:
        """What was found, run by run, where the script keeps it so that it can be interrupted."""
        return HERE / "results" / f"{self.name}.jsonl"

    @property
    def command(self) -> str:
        """As one would type it."""
        return f"{DATA}=... " * self.needs_data + f"python benchmarks/{self.name}.py"


PARTS = (
    Part(
        "bounds",
        (
            *BOUNDS,
            *CERTIFICATES,
            "benchmarks/rivals.py",
            "benchmarks/truncated_power.py",
            "benchmarks/train_mnist_conv.py",
            "benchmarks/nets",
            f"{WEIGHTS}/digits-relu.safetensors",
            f"{WEIGHTS}/digits-clipped.safetensors",
        ),
        shown="ladder",
        minutes=15,
        needs_data=True,
    ),
    Part("layers", (*BOUNDS, *CERTIFICATES, "lliptools/layers", f"{WEIGHTS}/*-digits.safetensors"), "Side by side", 2),
    Part(
        "training",
        (
            *BOUNDS,
            "lliptools/training/estimates.py",
            "lliptools/training/losses.py",
            "lliptools/training/norms.py",
            "lliptools/training/objectives.py",
            "benchmarks/train_mnist_conv.py",
            "benchmarks/nets/mnist-conv-0.5.safetensors",
            f"{WEIGHTS}/digits-clipped.safetensors",
        ),
        shown="Step",
        minutes=2,
        needs_data=True,
    ),
    Part("scaling", (*BOUNDS, *CERTIFICATES), "Exponents", 8),
    Part(
        "latency",
        (*BOUNDS, *CERTIFICATES, "lliptools/teach", "tools", "tests/browser"),
        shown="",
        minutes=10,
        by_name="Chromium, and a machine at rest",
    ),
    Part("varying", (*BOUNDS, WEIGHTS), "", 2, needs_data=True),
    Part("shipped", (*BOUNDS, *CERTIFICATES, WEIGHTS), "mnist,", 15, needs_data=True),
    Part("certified", (*BOUNDS, *CERTIFICATES, *TRAINING), "Was it", 600, True, "hours"),
    Part("search", (*BOUNDS, *CERTIFICATES, *TRAINING), "mnist-mlp", 120, True, "hours"),
    Part(
        "gpu",
        (*BOUNDS, *CERTIFICATES, *CERTIFICATES, *TRAINING, "tests/gpu"),
        shown="Kernels",
        minutes=9,
        by_name="a GPU; --toy rehearses on the CPU",
    ),
    Part(
        "faults",
        (
            *BOUNDS,
            *CERTIFICATES,
            "lliptools/certificates/stages.py",
            "lliptools/layers",
            "tests/bounds",
            "tests/layers",
            "tests/nets",
        ),
        shown="",
        minutes=60,
        by_name="an hour or more",
        knows_lines=True,
    ),
    Part(
        "soundness",
        (*BOUNDS, *CERTIFICATES, "lliptools/layers", "tests/oracle"),
        shown="",
        minutes=100,
        by_name="hours",
    ),
    Part(
        "release",
        ("benchmarks/common.py", "pyproject.toml", "constraints.txt", "Makefile"),
        shown="",
        minutes=5,
        by_name="a package index",
    ),
)


def git(*arguments: str) -> str:
    """What git answers in this repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def is_committed(path: Path) -> bool:
    """Whether git has the file as it is."""
    return path.exists() and not git("status", "--porcelain", "--", str(path))


def changed(part: Part) -> list[str]:
    """The inputs that have changed since the page was made, all of them where there is none."""
    inputs = [f"benchmarks/{part.name}.py", *part.inputs]
    if not part.page.exists():
        return inputs
    commit = git("log", "-1", "--format=%H", "--", str(part.page))
    list_files = ("diff", "--name-only", commit) if commit else ("ls-files",)
    files = {path: git(*list_files, "--", path).splitlines() for path in inputs}
    if not is_committed(part.page):
        made = part.page.stat().st_mtime
        files = {
            path: [name for name in names if not (ROOT / name).exists() or (ROOT / name).stat().st_mtime > made]
            for path, names in files.items()
        }
    return [path for path, names in files.items() if names]


def when(part: Part) -> str:
    """When the page was made."""
    if is_committed(part.page):
        return git("log", "-1", "--format=%cs, commit %h", "--", str(part.page))
    return f"{datetime.fromtimestamp(part.page.stat().st_mtime):%Y-%m-%d}, not committed yet"


def state(part: Part) -> str:
    """Fresh or stale, in words."""
    if not part.page.exists():
        return "not measured yet"
    stale = changed(part)
    return f"stale, changed since: {', '.join(stale)}" if stale else "fresh"


def reason_to_wait(part: Part) -> str:
    """Why a part is not run unless it is named; empty where it is."""
    if not part.script.exists():
        return f"benchmarks/{part.script.name} is not there"
    reasons = [f"run by name only: {part.by_name}"] * bool(part.by_name)
    if part.needs_data and DATA not in os.environ:
        reasons.append(f"{DATA} is not set")
    return "; ".join(reasons)


def measure(part: Part) -> bool:
    """Run the script; whether it succeeded.

    Lines of a stale part that git has are taken away, so that they are measured anew; those that it does not have are
    of a run that was interrupted, and stay. A page that comes out as it was says so: git sees then that it is new.
    """
    if changed(part) and is_committed(part.lines) and not part.knows_lines:
        part.lines.unlink()
        print(f"{part.name}: all of it anew; what was measured before, git has: {part.lines.relative_to(ROOT)}")
    print(f"{part.command}    # about {part.minutes} minutes", flush=True)
    start = time.perf_counter()
    succeeded = subprocess.run([sys.executable, str(part.script)], cwd=ROOT).returncode == 0
    print(f"{part.name}: {'done' if succeeded else 'FAILED'} in {time.perf_counter() - start:.0f} s", flush=True)
    if succeeded and is_committed(part.page):
        again = (
            f"\nMeasured again on {datetime.now():%Y-%m-%d}, at commit {git('rev-parse', '--short', 'HEAD')}, alike.\n"
        )
        part.page.write_text(part.page.read_text().rstrip("\n") + "\n" + again)
    return succeeded


def shortened(text: str) -> str:
    """The text with at most ROWS rows of every table."""
    kept: list[str] = []
    rows = 0
    for line in [*text.splitlines(), ""]:
        rows = rows + 1 if line.startswith("|") else 0
        if rows <= ROWS + 2:
            kept.append(line)
    return "\n".join(kept).strip()


def summary(part: Part) -> str:
    """What the page says first, and its section that part.shown names; links as from RESULTS.md."""
    opening, *sections = re.split(r"^## ", part.page.read_text(), flags=re.MULTILINE)
    body = opening.split("\n", 1)[1]
    if part.shown:
        heading, section = next(
            found for found in (s.split("\n", 1) for s in sections) if found[0].startswith(part.shown)
        )
        body = f"{body.strip()}\n\n### {heading}\n\n{section.strip()}"
    return re.sub(r"\]\(([\w.-]+\.md)", r"](results/\1", shortened(body))


def title(part: Part) -> str:
    """That of the page."""
    return part.page.read_text().split("\n", 1)[0].removeprefix("# ")


def processor() -> str:
    """The model of the processor."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def write_results() -> None:
    """The page of all."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "plotly", "ipywidgets"))
    made = [part for part in PARTS if part.page.exists()]
    rows = [
        f"| [{part.name}](#{part.name}) | {title(part)} | {when(part)} | {'yes' if changed(part) else 'no'} |"
        for part in made
    ]
    parts = [
        f"## {part.name}\n\n`{part.command}`, about {part.minutes} minutes. Measured: {when(part)}. "
        f"Changed since: {', '.join(f'`{path}`' for path in changed(part)) or 'nothing that it measures'}. "
        f"All of it: [{title(part)}](results/{part.page.name}).\n\n{summary(part)}\n"
        for part in made
    ]
    RESULTS.write_text(
        "# Results\n\n"
        "Written by `python benchmarks/run.py --page` from the pages in [results](results): what stands below a "
        f"heading is copied from that page, at most {ROWS} rows of a table. `python benchmarks/run.py` measures anew "
        "what has changed.\n\n"
        f"Written on: {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}; commit of "
        f"{git('log', '-1', '--format=%cs')}. What each page was measured with, it says itself.\n\n"
        "| part | what | measured | inputs changed since |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n\n"
        + "\n".join(parts)
    )


def main() -> int:
    """0 where all that was run has succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(part.name for part in PARTS))
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--all", action="store_true", help="measure all parts, changed or not")
    one.add_argument("--list", action="store_true", help="say what is fresh and what is stale")
    one.add_argument("--page", action="store_true", help="write RESULTS.md from the pages that are there")
    options = parser.parse_args()
    if unknown := {*options.names} - {part.name for part in PARTS}:
        parser.error(f"expected names of {', '.join(part.name for part in PARTS)}, got {', '.join(sorted(unknown))}")
    succeeded = True
    for part in PARTS:
        named = options.all or part.name in options.names
        waits = reason_to_wait(part)
        if options.list:
            print(f"{part.name}: {state(part)}{f' ({waits})' if waits else ''}; {part.minutes} minutes")
        elif named and part.script.exists():
            succeeded &= measure(part)
        elif not (options.names or options.page) and changed(part):
            if waits:
                print(f"{part.name}: not run, {waits}")
            else:
                succeeded &= measure(part)
    if not options.list:
        write_results()
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
