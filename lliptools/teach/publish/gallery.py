"""The central figures as pages that need no Python: lliptools gallery DEST."""

import html
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs
from tqdm.auto import tqdm

from lliptools.errors import InvalidInput
from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.explorers.training.figure import training
from lliptools.teach.explorers.training.view import Run, reached
from lliptools.teach.publish import lab, pages, story
from lliptools.teach.shared.example import Example, Picture
from lliptools.teach.shared.style import CONFIG
from lliptools.teach.shared.transport import SCRIPTS, STYLE, pack, parts
from lliptools.training import RECIPES, fit


def write(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the pages, by default all, their index and what they share into a folder; returns the files, index first.

    Raises InvalidInput for the name of no page.
    """
    names = names or list(EXAMPLES)
    if unknown := [name for name in names if name not in EXAMPLES]:
        wanted, cause = f"a page of the gallery: {', '.join(EXAMPLES)}", "a page that is called otherwise"
        raise InvalidInput(expected=wanted, got=unknown[0], cause=cause, next_step="leave the name out for all pages")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    (folder / "gallery.css").write_text(pages.read("gallery.css") + STYLE, encoding="utf-8")
    written, cards = [], []
    for name in tqdm(dict.fromkeys(names), desc="pages", disable=None):
        example = EXAMPLES[name]
        text, said = story.page(example) if name == "playground" else _page(example, *strip(name))
        written.append(folder / f"{name}.html")
        written[-1].write_text(text, encoding="utf-8")
        picture = _thumbnail(folder, name)
        cards.append(
            f"<li><a href='{name}.html'>{picture}{html.escape(example.title)}</a>"
            f"<p>{html.escape(example.question)}</p><p class='said'>{html.escape(said)}</p></li>"
        )
    index = folder / "index.html"
    index.write_text(Template(pages.read("gallery_index.html")).substitute(cards="\n".join(cards)), encoding="utf-8")
    return [index, *written]


def strip(name: str) -> tuple[str, Iterable[Picture]]:
    """What the slider of a page moves, with the unit, and the pictures at its positions.

    A run that is watched has no slider to be moved: its page shows one run, epoch by epoch.
    """
    if name == "training":
        return "epochs done", _training()
    explorer = EXAMPLES[name].make()
    return explorer.controls[EXAMPLES[name].control].description, EXAMPLES[name].pictures(explorer)


def _training() -> Iterator[Picture]:
    run = Run(RECIPES["digits-0.5-sparse"], None, 60, seed=0)
    assert run.data is not None
    history, level = fit(run.history.net, run.data, run.recipe, seed=0), reached(run.recipe)
    for done in range(1, len(history) + 1):
        until = replace(history, epochs=history.epochs[:done])
        loss, clean, certified = (until[name][-1] for name in ("loss", "validation_clean", "validation_certified"))
        said = f"epoch {done}: loss {loss:.3g} · of the held-out points {clean:.3g} clean, {certified:.3g} certified"
        yield done, training(until, len(history), level), (said,)


def _page(example: Example, control: str, found: Iterable[Picture]) -> tuple[str, str]:
    """A page, with all its pictures inside, and what its middle one says."""
    positions, figures, lines = zip(*found, strict=True)
    packed = pack([parts(figure) for figure in figures], ["\n".join(said) for said in lines], positions)
    first, last = figures[0].to_json().replace("</", "<\\/"), len(figures) - 1
    body = (
        f'<div id="figure"></div>\n<script type="application/json" id="spec">{first}</script>\n'
        f'<script type="application/json" id="config">{json.dumps(CONFIG)}</script>'
    )
    script, head = SCRIPTS + pages.read("gallery.js"), '<script src="plotly.min.js"></script>'
    text = pages.page(example, control, last, len(figures) // 4, body=body, parcel=packed, script=script, head=head)
    return text, lines[len(lines) // 2][0]


def _thumbnail(folder: Path, name: str) -> str:
    """The middle picture of an explorer, as the course has it, beside its page; empty where there is none."""
    source = lab.notebooks() / "pictures" / f"{name}_middle.png"
    if not source.exists():
        return ""
    (folder / source.name).write_bytes(source.read_bytes())
    return f"<img src='{source.name}' alt=''>"
