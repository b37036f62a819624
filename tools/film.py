"""Film the three recorded runs of the Playground: docs/playground.webp, which README shows, and docs/playground.md.

python tools/film.py    # a minute; needs Chromium
"""

import io
import tempfile
from pathlib import Path
from typing import Any

from browser import open_browser
from PIL import Image
from playwright.sync_api import Page

from lliptools.teach.publish import story
from lliptools.teach.publish.gallery import write

DOCS = Path(__file__).parent.parent / "docs"
SHOWN, STILLS = (*range(0, 40, 2), *range(40, story.EPOCHS + 1, 4)), (0, 5, 20, 80)
WIDTH, PAUSE, END = 800, 110, 3000  # pixels; milliseconds at an epoch, and at the last
# What moves, and nothing beside it.
BARE = """
body { margin: 0; padding: 8px 10px 0; max-width: none; }
body > p, body > h1, #play, .near { display: none !important; }
.control { margin: 0 0 4px; } #runs section > div > div { display: none !important; }
"""
TEXT = """# The Playground: three runs

![Three networks are trained; around every point grows the disc in which its class is certified](playground.webp)

The same network of 2-16-16-2 neurons and the same {points} points, trained without a bound, by the global bound, and by
the local bound with clipped units (ReLU-θ) and the sparsity loss (λ). Around every point stands the disc in which its
class is certified: by the global bound in the middle, by the local one on both sides; green where it reaches
ε = {eps}. Below: the weight matrices without the rows and columns of neurons that are constant within ε of the picked
point. `ll.teach.Playground()` trains such networks live; `lliptools gallery DEST` writes these runs with their slider.

A disc is a theorem: where L bounds how steeply the difference of the two logits changes on the ball of some radius R,
rounding enclosed, no point nearer than min(R, margin / L) has the other class. R is a little above the disc of the
epoch before, so that one pass over all points gives every disc; it may be smaller than the largest that could be
certified.

| epoch | {titles} |
| --- | --- | --- | --- |
{rows}

![The planes of the three runs, one below the other, at epochs {epochs}](playground_strip.png)

Written by `python tools/film.py`.
"""


def shoot(page: Page, epoch: int, what: str) -> Image.Image:
    """The part of the page at an epoch."""
    page.evaluate("epoch => { slider.value = epoch; slider.dispatchEvent(new Event('input')); }", epoch)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return Image.open(io.BytesIO(page.locator(what).screenshot())).convert("RGB")


def strip(page: Page) -> Image.Image:
    """A row for each run, a column for each of the stills: what is right of its title."""
    cells = [[shoot(page, epoch, f"#runs section:nth-child({k}) .plane") for epoch in STILLS] for k in (1, 2, 3)]
    (wide, tall), gap = cells[0][0].size, 6
    whole = Image.new("RGB", (len(STILLS) * (wide + gap) - gap, 3 * (tall + gap) - gap), "#FFFFFF")
    for k, row in enumerate(cells):
        for column, cell in enumerate(row):
            whole.paste(cell, (column * (wide + gap), k * (tall + gap)))
    return whole


def main() -> None:
    """The film, the strip and the page."""
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        write(Path(folder), ["playground"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 600}, reduced_motion="reduce")
        page.goto((Path(folder) / "playground.html").as_uri())
        page.wait_for_selector("#runs[data-ready]")
        page.add_style_tag(content=BARE)
        film = [shoot(page, epoch, "body") for epoch in SHOWN]
        said = {}
        for epoch in STILLS:
            shoot(page, epoch, "body")
            said[epoch] = page.locator("#runs .result").all_text_contents()
        strip(page).quantize(128).save(DOCS / "playground_strip.png", optimize=True)
    times = [PAUSE] * (len(film) - 1) + [END]
    look: dict[str, Any] = {"quality": 62, "method": 6, "minimize_size": True}
    film[0].save(DOCS / "playground.webp", save_all=True, append_images=film[1:], duration=times, loop=0, **look)
    text = TEXT.format(
        points=story.COMMON.points,
        eps=story.COMMON.eps,
        titles=" | ".join(title for title, *_ in story.RUNS),
        rows="\n".join(f"| {epoch} | {' | '.join(texts)} |" for epoch, texts in said.items()),
        epochs=", ".join(map(str, STILLS)),
    )
    (DOCS / "playground.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
