"""Networks of the verification competitions, from their ONNX files: read, held against onnxruntime, and bounded.

    LLIPTOOLS_DATA=... python benchmarks/onnx_files.py    # writes benchmarks/results/onnx_files.md; some five minutes

Three points, uniform in [0, 1]; means over them. Sampled: the largest slope found in the ball, from below.
"""

import os
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from common import clocked, machine, table, write

import lliptools as ll

RADII = (0.01, 0.05)
HEAD = ["network", "read in s", "difference", "of", "eps", "global", "local", "centred", "sampled", "s per point"]


def rows(path: Path) -> list[list[object]]:
    """One row for each radius, or the refusal."""
    try:
        net, seconds = clocked(partial(ll.nets.load, path))
    except (ll.InvalidInput, ll.UnsupportedLayer) as refused:
        return [[path.stem, f"refused: {refused}", *[""] * (len(HEAD) - 2)]]
    session = onnxruntime.InferenceSession(path)
    given = session.get_inputs()[0]
    x = torch.rand(3, *given.shape[1:], generator=torch.Generator().manual_seed(0))
    theirs = torch.cat([torch.from_numpy(session.run(None, {given.name: p[None].numpy()})[0]) for p in x])
    off = (net(x.double()) - theirs).abs().max().item()
    found: list[list[object]] = []
    for eps in RADII:
        local, took = clocked(partial(ll.local_bound, net, x, eps))
        sampled, everywhere = ll.sampled_bound(net, x, eps, samples=32, steps=5), ll.global_bound(net, x)
        assert (sampled.value <= local.value).all()
        assert (local.value <= everywhere.value * (1 + 1e-6)).all()
        bounds = (everywhere, local, ll.local_bound(net, x, eps, centred=True), sampled)
        means = [bound.value.mean().item() for bound in bounds]
        found.append([path.stem, seconds, off, theirs.abs().max().item(), f"{eps:g}", *means, took / len(x)])
        print(found[-1], flush=True)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    paths = sorted(Path(os.environ["LLIPTOOLS_DATA"], "public", "onnx").glob("*.onnx"))
    every = [row for path in paths for row in rows(path)]
    read = len(paths) - sum(str(row[1]).startswith("refused") for row in every)
    said = f"{read} of {len(paths)} files are read, with {machine()}."
    write("onnx_files.md", "\n\n".join(["# ONNX files", (__doc__ or "").strip(), said, table(HEAD, every)]) + "\n")
