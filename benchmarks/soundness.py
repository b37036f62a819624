"""What a second opinion finds against certificates and bounds of random networks: nothing, as far as it went.

    python benchmarks/soundness.py                  # on to 100,000 networks; writes benchmarks/results/soundness.md
    python benchmarks/soundness.py --networks 5000  # or to so many
    python benchmarks/soundness.py --seed 316       # what is found about one of them
    python benchmarks/soundness.py --page           # only the page, from what is there

tests/oracle draws the networks and tries to refute. Every batch of networks appends one line to
benchmarks/results/soundness.jsonl, and one that is there is not repeated. The first thousand are those of the tests.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, keep, kept, machine, table, write

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "oracle"))
from claims import Verdict, judge, turn  # noqa: E402
from random_networks import random_network  # noqa: E402

LINES = RESULTS / "soundness.jsonl"
NETWORKS, BATCH = 100_000, 500


def ask(seed: int) -> tuple[Verdict, list[str]]:
    """What is claimed and refuted about the network of a seed, and the kinds of its layers."""
    case = random_network(seed)
    kinds = sorted({type(layer).__name__ for layer in case.net.modules()} - {"Sequential"})
    settings: dict[str, Any] = turn(seed)
    return judge(case.net, case.x, seed=seed, **settings), kinds


def measured(start: int) -> dict[str, Any]:
    """The line of a batch of networks."""
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, text=True).strip()
    line: dict[str, Any] = {"start": start, "networks": BATCH, "commit": commit}
    counts, layers = defaultdict[str, Counter[str]](Counter), Counter[str]()
    refuted, broken, began = [], [], time.process_time()
    for seed in range(start, start + BATCH):
        try:
            verdict, kinds = ask(seed)
        except Exception as error:  # whatever a layer or a bound has met that nobody foresaw
            broken.append(f"seed {seed}: {type(error).__name__}: {error}"[:300])
            continue
        for name, count in verdict.counts.items():
            counts[name] += count
        layers.update(kinds)
        refuted += [f"seed {seed}: {each}" for each in verdict.refuted]
    seconds = round(time.process_time() - began, 1)
    return line | {"counts": counts, "layers": layers, "refuted": refuted, "broken": broken, "seconds": seconds}


def write_page() -> None:
    """What all lines say together."""
    found = sorted(kept(LINES), key=lambda line: line["start"])
    networks, seconds = (sum(line[key] for line in found) for key in ("networks", "seconds"))
    counts, layers = defaultdict[str, Counter[str]](Counter), Counter[str]()
    for line in found:
        layers.update(line["layers"])
        for name, count in line["counts"].items():
            counts[name].update(count)
    refuted, broken = ([f"* {each}" for line in found for each in line[key]] for key in ("refuted", "broken"))
    asked = ("networks", "refusals", "certificates", "bounds")
    rows = [[name, *(count[key] for key in asked)] for name, count in sorted(counts.items())]
    total = [sum(count[key] for count in counts.values()) for key in asked]
    false, failed = ("\n".join(each) or "None." for each in (refuted, broken))
    kinds: list[list[object]] = [[kind, number] for kind, number in layers.most_common()]
    text = f"""# A second opinion on certificates and bounds

Made by `python benchmarks/soundness.py` with {machine()}, in {seconds / 3600:.1f} hours of processor time, at
{", ".join(sorted({line["commit"] for line in found}))}.
{networks:,} random networks of the {NETWORKS:,} that it goes on to, {total[2]:,} certificates and
{total[3]:,} bounds of Lipschitz constants: **{len(refuted)} refuted**. {len(broken)} networks broke off with an error
that is none of the library's own.

The networks have one to four linear maps, up to 96 units a layer and the kinds of layers listed below (from network
100,000 on also max pooling, borders that repeat pixels, and activations that fall before they grow), with odd numbers:
weights at scales from 1e-30 to 1e30, rows that are alike or nearly so, products that cancel, units that meet at whole
numbers, points at bends, attributes changed afterwards, layers that write over their input. One or two bounds are asked
about each, in turn, at two points and radii of 0, 1e-300, 1e-12 and up to 1.5 times the distance at which an attack
breaks the point; every fiftieth time one for certified radii, and as often `certify_in_stages`.

The oracle (`tests/oracle`, 300 lines, no code shared) looks for a label that is not the network's, attacks within each
certified ball, walks through it along segments in exact arithmetic, and measures slopes between pairs of points. That
points lie in the ball is decided exactly; what they show counts where it is exact, or more than 64 times what the last
digits of all weights and inputs do. Its own tests say what it finds when a claim is false.

{table(["asked", "networks", "refused", "certificates", "bounds"], [*rows, ["together", *total]])}

## Refuted

{false}

`python benchmarks/soundness.py --seed N` says it again of one network.

## Broken off

{failed}

## Layers

In how many of the networks.

{table(["layer", "networks"], kinds)}
"""
    write("soundness.md", text)


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.seed is not None:
        verdict, kinds = ask(options.seed)
        print(*kinds, *verdict.refuted or ["nothing is refuted"], sep="\n")
        return
    there = {line["start"] for line in kept(LINES)}
    for start in range(0, 0 if options.page else options.networks, BATCH):
        if start not in there:
            line = measured(start)
            keep(LINES, line)
            print(f"{start + BATCH:,} networks, {len(line['refuted'])} refuted, {line['seconds']:.0f} s", flush=True)
    write_page()


if __name__ == "__main__":
    main()
