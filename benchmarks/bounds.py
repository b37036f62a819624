"""Tightness and cost of every bound, norm and stage, in one markdown page.

    python benchmarks/bounds.py                       # all sections, written to benchmarks/results/bounds.md
    python benchmarks/bounds.py --only ladder norms   # some of them anew

The MNIST sections need LLIPTOOLS_DATA, a folder that holds mnist/; the rivals are optional (rivals.py). Seed 0.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import rivals
import torch
from common import PLAIN, RESULTS, clocked, machine, plain_network, table, timed
from torch import nn

import lliptools as ll
from lliptools.bounds import LanczosNorm, PowerNorm, UpperNorm, adversarial_distance
from lliptools.bounds.merged import FULL
from lliptools.domains import Ball, Interval

POINTS = 64
IN_TWO_THREADS = ("norms", "stages")


def ladder() -> str:
    """Mean ratio of every bound to the exact constant (digits: to the best sampled lower bound), and its cost."""
    rows: list[list[object]] = []
    bounds: dict[str, Callable[..., ll.Bound]] = {
        "global": ll.global_bound,
        "local": ll.local_bound,
        "local, prefix boxes": partial(ll.local_bound, domain=FULL),
        "merged, closed form": ll.merged_bound,
        "tightest": ll.tightest_bound,
        "tightest, 68 steps": partial(ll.tightest_bound, steps=68),
        "sampled": ll.sampled_bound,
    }
    for name in PLAIN:
        net, x, _ = plain_network(name)
        x = x[:POINTS]
        plain = timed(partial(net, x), 20)
        for eps in (0.05, 0.3) if name.startswith("moons") else (0.02, 0.1):
            exact = {"exact": ll.exact_bound} if name.startswith("moons") else {}
            if exact:
                reference = ll.exact_bound(net, x, eps).value
            else:
                reference = ll.sampled_bound(net, x, eps, samples=1024, steps=120).value
            for title, bound in (bounds | exact).items():
                seconds = timed(partial(bound, net, x, eps), 1 if title in ("sampled", "exact") else 5)
                ratio = (bound(net, x, eps).value / reference).mean().item()
                rows.append([name, eps, title, ratio, 1e3 * seconds / POINTS, seconds / plain])
    head = ["net", "ε", "bound", "mean ratio to the reference", "ms per point", "forward passes"]
    return f"{POINTS} held-out points, batched.\n\n" + table(head, rows)


def radii() -> str:
    """Certified radius over the exact adversarial distance."""
    rows: list[list[object]] = []
    for name in ("moons 2-32-32-2", "moons 2-16-16-16-2"):
        net, x, y = plain_network(name)
        right = net(x).argmax(dim=1) == y
        x, y = x[right][:POINTS], y[right][:POINTS]
        distance, _ = adversarial_distance(net, x, y, 3.0)
        for title in ("global", "local", "merged", "tightest", "exact"):
            radius, seconds = clocked(partial(ll.certified_radius, net, x, y, bound=ll.BOUNDS[title]))
            rows.append([name, title, (radius / distance).mean().item(), 1e3 * seconds / len(x)])
    return table(["net", "bound", "mean certified radius / adversarial distance", "ms per point"], rows)


def norms() -> str:
    """6C2F, batch 32, ε = 36/255, float32, θ = 1, random weights: every layer's norm against the truth."""
    torch.manual_seed(0)
    net = ll.nets.cnn("6C2F", (3, 32, 32), activation="clipped_relu", theta=1.0).eval()
    x, eps = torch.rand(32, 3, 32, 32), 36 / 255
    with torch.no_grad():
        plain = timed(lambda: net(x), 15)
    bound = partial(ll.local_bound, net, x, eps)
    with ll.bounds.outward_rounding(False):
        masks = bound(norm=UpperNorm(1e-9 / 8, 1e-2))
    before = [torch.ones_like(x, dtype=torch.float64), *(block.slope for block in masks.blocks)]
    layers = [(block.linear, block.row_slope, each) for block, each in zip(masks.blocks, before, strict=False)]
    truth = torch.cat([LanczosNorm(100)(*layer) for layer in layers])
    methods: dict[str, tuple[Callable[..., torch.Tensor], int]] = {
        "power iteration, 2 steps": (PowerNorm(2), 3),
        "Lanczos, 2 steps (estimate for training)": (LanczosNorm(2), 3),
        "Lanczos, 12 steps": (LanczosNorm(12), 1),
        "Lanczos, 25 steps": (LanczosNorm(25), 1),
        "upper, within 1 %, total δ = 1e-9": (UpperNorm(1e-9 / 8, 1e-2), 1),
        "upper, within 0.1 %, total δ = 1e-9": (UpperNorm(1e-9 / 8, 1e-3), 1),
    }
    rows: list[list[Any]] = []
    for name, (norm, times) in methods.items():
        with torch.no_grad():
            seconds = timed(partial(bound, norm=norm), times)
        low, high = (torch.cat([norm(*layer) for layer in layers]) / truth).aminmax()
        rows.append([name, f"{low:.4f}", f"{high:.4f}", seconds])
    with torch.no_grad():  # the machine may have been busy before: the quicker of the two
        plain = min(plain, timed(lambda: net(x), 15))
    rows = [[*row[:3], row[3] / plain] for row in rows]
    head = ["norm of the masked layers", "lowest / truth", "highest / truth", "forward passes"]
    note = f"One forward pass of the batch: {1e3 * plain:.1f} ms. The truth: 100 Lanczos steps.\n\n"
    return note + table(head, rows)


def stages() -> str:
    """Shipped convolutional nets, 1,000 MNIST test images: certify_in_stages against the full computation."""
    data = ll.training.mnist()
    x, y = data.x_test[:1000].float(), data.y_test[:1000]
    rows: list[list[object]] = []
    details = []
    for name, eps in (("mnist-small-sparse", 0.3), ("mnist-small-local", 0.3), ("mnist-small-standard", 0.02)):
        net = ll.nets.load(name).float()
        with torch.no_grad():
            plain = timed(partial(net, x), 15)
        run = partial(ll.certify_in_stages, net, x, y, eps)
        seconds, staged = timed(run), run()
        each = (ll.certify(net, *part, eps).holds for part in zip(x.split(250), y.split(250), strict=True))
        full, whole = clocked(partial(list, each))
        differ = int((torch.cat(full) != staged.holds).sum())
        rows.append([name, eps, int(staged.holds.sum()), differ, seconds / plain, whole / plain])
        each_stage = zip(staged.stages, staged.seconds, strict=True)
        taken = table(["stage", "ms a point"], [[stage, spent] for stage, spent in each_stage])
        details.append(f"{name}, ε = {eps}:\n\n```\n{staged}\n```\n\n{taken}")
    head = ["net", "ε", "certified", "answers that differ", "stages, forward passes", "in full, forward passes"]
    return table(head, rows) + "\n\n" + "\n\n".join(details)


def others() -> str:
    """Global constants of other packages on the small nets; which are absent is said."""
    rows: list[list[object]] = []
    for name in PLAIN:
        net, x, _ = plain_network(name)
        rows.append([name, "product of norms", ll.global_bound(net, x[:1]).value.item(), ""])
        bound, seconds = clocked(partial(ll.merged_bound, net, x[:1], torch.inf, steps=300))
        rows.append([name, "merged_bound at ε = ∞, 300 steps", bound.value.item(), seconds])
        if name.startswith("moons"):
            weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
            value, seconds = clocked(lambda: rivals.asked(lambda: rivals.lipsdp(weights)))  # noqa: B023 - at once
            rows.append([name, "LipSDP-Neuron, cvxpy + Clarabel", value or "absent", seconds])
        value, seconds = clocked(lambda: rivals.asked(lambda: rivals.eclipse(net)))  # noqa: B023 - at once
        rows.append([name, "eclipse-nn, Fast", value or "absent", seconds])
    return f"{rivals.available()}\n\n" + table(["net", "method", "global constant", "seconds"], rows)


def boxes() -> str:
    """Mean width of the pre-activation boxes of the second hidden layer, 32 digits."""
    rows: list[list[object]] = []
    domains: dict[str, Any] = {"intervals": Interval, "balls": Ball, "intervals ∩ balls": Interval & Ball}
    domains["∩ prefix rows"] = FULL
    for name, (method, domain) in itertools.product(("digits-relu", "digits-clipped"), domains.items()):
        x, eps = ll.training.digits().x_test[:32], 0.1
        box = ll.local_bound(ll.nets.load(name), x, eps, domain=domain).blocks[1].box
        rows.append([name, eps, method, (box.upper - box.lower).mean().item()])
    return table(["net", "ε", "boxes", "mean width"], rows)


SECTIONS = {section.__name__: section for section in (ladder, radii, boxes, norms, stages, others)}


def main() -> None:
    """Run the sections, and put each in its place on the page as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="measure these sections anew and keep the others")
    page = RESULTS / "bounds.md"
    kept = dict(part.split("\n", 1) for part in page.read_text().split("\n## ")[1:])
    for name in parser.parse_args().only or SECTIONS:
        section = SECTIONS[name]
        torch.set_num_threads(2 if name in IN_TWO_THREADS else 1)
        measured, seconds = clocked(section)
        said = f"`python benchmarks/bounds.py --only {name}`, seed 0, {seconds:.0f} s; {machine()}."
        kept[name] = f"\n{(section.__doc__ or '').strip()}\n\n{measured}\n\n{said}\n"
        print(f"## {name}\n{kept[name]}", flush=True)
        parts = [f"## {known}\n{kept[known].rstrip()}\n" for known in SECTIONS if known in kept]
        page.write_text("# Bounds: tightness and cost\n\n" + "\n".join(parts))


if __name__ == "__main__":
    main()
