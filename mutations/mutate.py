"""Hand-made faults, each in a patch file, and the tests that notice them.

    python mutations/mutate.py                  # measures what is not in mutations/results.md, or has changed since
    python mutations/mutate.py --jobs 2 07 48   # these faults, two at a time, whatever was measured before
    python mutations/mutate.py --list           # whether every patch applies; nothing is run

A patch names what is wrong then, and the tests that must fail. It applies by its context, which may have moved. Every
run goes into mutations/results.md at once, so that a run that was interrupted goes on where it stopped.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results.md"
HEAD = """# Hand-made faults, and the tests that notice them

Made by `python mutations/mutate.py`. With every fault a bound, its failure probability, a guarantee or a certificate is
false. Seconds are those until the first failure. The key is that of the patch and of the file it changes; a row without
one was measured before the code was moved.

| fault | what is wrong then | first test that fails | seconds | key |
| --- | --- | --- | --- | --- |
"""
SETTINGS = {"COLUMNS": "400", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
PYTEST = ("-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider")
GIT_APPLY = ("git", "apply", "--recount", "-C1")


def key(patch: Path) -> str:
    """Of the patch, and of the file that it changes as it is."""
    (changed,) = re.findall(r"^--- a/(.+)$", patch.read_text(), re.MULTILINE)
    return hashlib.sha256(patch.read_bytes() + (ROOT / changed).read_bytes()).hexdigest()[:12]


def refusal(patch: Path) -> str:
    """What git says where the patch does not apply; empty where it does."""
    done = subprocess.run([*GIT_APPLY, "--check", patch], cwd=ROOT, capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


def measured(patch: Path) -> str:
    """A row of the page: the tests of the patch, run on a copy of the repository that has the fault."""
    wrong, tests = patch.read_text().split("\n", 2)[:2]
    with tempfile.TemporaryDirectory() as tree:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.split("\0")):
            (Path(tree) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, Path(tree) / name)
        subprocess.run([*GIT_APPLY, patch], cwd=tree, check=True)
        start = time.perf_counter()
        command = [sys.executable, *PYTEST, *tests.removeprefix("tests: ").split()]
        settings = os.environ | SETTINGS | {"PYTHONPATH": tree}
        done = subprocess.run(command, cwd=tree, env=settings, capture_output=True, text=True, timeout=1800)
    failed = re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - |$)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) or (done.returncode == 1 and not failed):
        raise SystemExit(f"{patch.stem}: expected tests that pass or fail, got\n{done.stdout[-2000:]}{done.stderr}")
    first = f"`{failed[1]}`" if failed else "NONE"
    return f"| {patch.stem} | {wrong} | {first} | {time.perf_counter() - start:.0f} | {key(patch)} |"


def main() -> int:
    """0 where every patch applies and every fault that was run is noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", help="the first figures of file names")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="say which patches apply, and run none")
    options = parser.parse_args()
    patches = sorted(HERE.glob("*.patch"))
    if lost := [f"{patch.stem}: {said}" for patch in patches if (said := refusal(patch))]:
        print(*lost, f"{len(lost)} of {len(patches)} do not apply", sep="\n")
        return 1
    if options.list:
        print(f"all {len(patches)} apply")
        return 0
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = {row.split(" | ")[0][2:]: row for row in lines if re.match(r"\| \d", row)}
    chosen = [patch for patch in patches if patch.stem.split("_")[0] in options.numbers]
    seen = {name for name, row in rows.items() if "| NONE |" not in row}
    stale = [patch for patch in patches if patch.stem not in seen or key(patch) not in rows[patch.stem]]
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(measured, chosen if options.numbers else stale):
            print(row, flush=True)
            rows[row.split(" | ")[0][2:]] = row
            RESULTS.write_text(HEAD + "\n".join(rows[patch.stem] for patch in patches if patch.stem in rows) + "\n")
    return any("| NONE |" in row for row in rows.values())


if __name__ == "__main__":
    sys.exit(main())
