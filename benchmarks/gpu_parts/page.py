"""The page of what a run has found: benchmarks/results/gpu.md."""

from typing import Any

from common import table

from gpu_parts.size import LOSSES, STEPS


def shown(part: dict[str, Any] | None) -> str:
    """The rows of a part, or why there are none."""
    if part is None:
        return "Not reached."
    if "rows" not in part:
        return f"Failed: `{part['failed']}`" if "failed" in part else f"Left out: {part['left out']}"
    head = list(dict.fromkeys(key for row in part["rows"] for key in row))
    cells = [[row.get(key, "") for key in head] for row in part["rows"]]
    return table(
        head, [[" ".join(cell.split())[:160] if isinstance(cell, str) else cell for cell in row] for row in cells]
    )


def page(found: dict[str, Any]) -> str:
    """benchmarks/results/gpu.md."""
    toy = found["toy"]
    opening = (
        "**Not yet run on a GPU.** What stands below is the rehearsal on the CPU, with a small network and a few noisy "
        "images: it shows that every part runs, and its numbers mean nothing but for the kernels, which are counted."
        if toy
        else f"One {found['device']}. The schedule of 800 epochs is compressed to those that fit, and packed images "
        "are a part of CIFAR-10 only: nothing to quote beside a published figure."
    )
    many = found.get("training", {}).get("images", 0)
    images = "2C1F, noise in place of the images" if toy else f"6C2F, {many:,} images to train"
    kernels = {"rows": [{"loss": name, **row} for name, row in found["kernels"].items() if name in LOSSES]}
    return f"""# On a GPU

Made by `python benchmarks/gpu.py {"--toy" if toy else "--minutes N"} --out FOLDER` and `--page FOLDER`, with
{found["machine"]}.

{opening}

## Kernels of a step

6C2F with clipped ReLU, norms by `SharedNorm({STEPS})`, loss and backward pass without the optimizer: operations that
are no views (`--count`). A look at a value makes a GPU wait, and ends the capture of a CUDA graph.

{shown(kernels)}

## A step

{"2C1F, batch 4" if toy else "6C2F, batch 256"}, after the ramp, AdamW. The loss of a captured step is compared with
that of the eager one after as many steps.

{shown(found.get("steps"))}

## An epoch of mnist-4c3f

GloRo with the local bound over cross-entropy, {"32" if toy else "60,000"} random images; the goal is 5 at most.

{shown(found.get("epoch"))}

## CIFAR-10

BCP, radius 36/255, {images}; shares of the test points.

{shown(found.get("training"))}

## Certificates in stages

{shown(found.get("certificates"))}
"""
