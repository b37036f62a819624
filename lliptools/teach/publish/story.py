"""Three recorded runs of the Playground side by side, on a page that needs no Python."""

import html
import json
import zlib
from typing import Any

from lliptools.digits import radius_text
from lliptools.teach.explorers.playground.figure import beginning, frame, palette
from lliptools.teach.explorers.playground.view import Run, Settings, percent
from lliptools.teach.explorers.playground.widget import SCRIPT
from lliptools.teach.publish import pages
from lliptools.teach.shared.example import Example

EPOCHS, POINT, COMMON = 80, 59, Settings(eps=0.2)
# The title, what the run is beside COMMON, and whether its discs are those of the local bound.
RUNS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("no bound", {"bound": "none", "activation": "relu"}, True),
    ("global bound", {"bound": "global", "activation": "relu"}, False),
    ("local bound, ReLU-θ, λ", {"bound": "local", "activation": "clipped_relu", "sparsity": 0.3}, True),
)
WORDS = (
    "One network of 2-16-16-2 neurons, the same points, three losses. Around every point stands the disc in which its "
    "class is certified, by the global bound in the middle, by the local one on both sides; green where it reaches "
    "ε = {eps}. Below: the weight matrices without the rows and columns of neurons that are constant within ε of the "
    "picked point. Click a point to pick it."
)


def page(example: Example) -> tuple[str, str]:
    """The page, with all epochs inside, and what it shows at its end."""
    parcel, runs, ends = bytearray(), [], []
    for title, own, local in RUNS:
        run = Run(Settings(**{**vars(COMMON), **own}))
        for _ in range(EPOCHS):
            run.epoch()
        told, buffers = beginning(run)
        frames = [frame(epoch) for epoch in run.epochs]
        heads = [{**head, "size": len(numbers)} for head, numbers in frames]
        about = {"title": title, "discs": int(local), "points": len(run.y), "point": POINT}
        runs.append({**told, **about, "frames": heads})
        ends.append(f"{title}: {percent(run.epochs[-1].curves[2 + local])} certified")
        parcel += b"".join(buffers) + b"".join(numbers for _, numbers in frames)
    head = json.dumps({"colors": palette(), "runs": runs}).encode()
    packed = zlib.compress(len(head).to_bytes(4, "little") + head + bytes(parcel), 9)
    words = html.escape(WORDS.format(eps=radius_text(COMMON.eps)))
    body = f'<p role="status" id="summary"></p>\n<div id="runs"></div>\n<p class="quiet">{words}</p>'
    script = SCRIPT + pages.read("story.js")
    text = pages.page(example, "epochs done", EPOCHS, 0, body=body, parcel=packed, script=script)
    return text, f"After {EPOCHS} epochs, at ε = {radius_text(COMMON.eps)}: {', '.join(ends)}."
