"""The central figures as pages that need no Python: lliptools gallery DEST."""

import base64
import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from lliptools.errors import InvalidInput
from lliptools.teach.examples import EXAMPLES, Example, Picture
from lliptools.teach.frames import SCRIPT, pack, parts
from lliptools.teach.style import CONFIG, dark, dark_colors

if TYPE_CHECKING:
    from lliptools.training import History

__all__ = ["PAGES", "Page", "Strip", "write"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Strip:
    """All pictures of a figure. control: what the slider that picks one moves, with the unit."""

    control: str
    pictures: Iterable[Picture]


@dataclass(frozen=True)
class Page:
    """A figure of the gallery, made when it is written."""

    title: str
    question: str
    make: Callable[[], Strip]


def _explored(example: Example) -> Strip:
    """What an explorer shows at the positions of the control that tells its story."""
    explorer = example.make()
    return Strip(explorer.controls[example.control].description, example.pictures(explorer))


def _training() -> Strip:
    import torch

    import lliptools as ll

    recipe = replace(ll.training.recipe("moons"), epochs=40, hold_out=200)
    torch.manual_seed(0)
    history = ll.training.fit(recipe.network(), recipe.data(), recipe, seed=0)
    return Strip("epochs done", (_trained(history, done) for done in range(1, len(history) + 1)))


def _trained(history: "History", done: int) -> Picture:
    from lliptools.teach import figures

    until, span = replace(history, epochs=history.epochs[:done]), [0.5, len(history) + 0.5]
    figure = figures.training(until).update_layout(xaxis_range=span, xaxis2_range=span)
    loss, clean, certified = (until[name][-1] for name in ("loss", "validation_clean", "validation_certified"))
    return (
        done,
        figure,
        (f"epoch {done}: loss {loss:.3g} · of held out points {clean:.3g} clean, {certified:.3g} certified",),
    )


# A run that is watched has no slider to be moved: its page shows one run, epoch by epoch.
STRIPS = {"training": _training}
PAGES: dict[str, Page] = {
    name: Page(example.title, example.question, STRIPS.get(name, partial(_explored, example)))
    for name, example in EXAMPLES.items()
}


def write(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the pages, by default all, their index and what they share into a folder; the files, index first."""
    from plotly.offline import get_plotlyjs

    chosen = {name: _page(name) for name in names or PAGES}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    (folder / "gallery.css").write_text((HERE / "gallery.css").read_text(encoding="utf-8"), encoding="utf-8")
    written = []
    cards = []
    for name, each in chosen.items():
        strip = each.make()
        pictures = list(strip.pictures)
        written.append(folder / f"{name}.html")
        written[-1].write_text(_html(each, strip.control, pictures), encoding="utf-8")
        middle = pictures[len(pictures) // 2][2]
        cards.append(
            f"<li><a href='{name}.html'>{html.escape(each.title)}</a>"
            f"<p>{html.escape(each.question)}</p><p class='said'>{html.escape(middle[0])}</p></li>"
        )
    index = folder / "index.html"
    index.write_text(_template("gallery_index.html").substitute(cards="\n".join(cards)), encoding="utf-8")
    return [index, *written]


def _page(name: str) -> Page:
    if name not in PAGES:
        raise InvalidInput(
            expected=f"a page of the gallery: {', '.join(PAGES)}",
            got=name,
            cause="a page that is called otherwise",
            next_step="leave the name out for all pages",
        )
    return PAGES[name]


def _html(page: Page, control: str, pictures: Sequence[Picture]) -> str:
    """A page, with all its pictures inside."""
    positions, figures, lines = zip(*pictures, strict=True)
    shown = [parts(figure) for figure in figures]
    day, night = shown[0], parts(dark(figures[0]))
    turned = [[*place, day.get(place), value] for place, value in night.items() if repr(day.get(place)) != repr(value)]
    parcel = pack(shown, ["\n".join(said) for said in lines], positions, colors=dark_colors(*shown), turned=turned)
    return _template("gallery_page.html").substitute(
        title=html.escape(page.title),
        question=html.escape(page.question),
        control=html.escape(control),
        last=len(pictures) - 1,
        start=len(pictures) // 4,
        figure=figures[0].to_json().replace("</", "<\\/"),
        config=repr(CONFIG).replace("'", '"').replace("True", "true").replace("False", "false"),
        parcel=base64.b64encode(parcel).decode(),
        script=SCRIPT.read_text(encoding="utf-8") + (HERE / "gallery.js").read_text(encoding="utf-8"),
    )


def _template(name: str) -> Template:
    return Template((HERE / name).read_text(encoding="utf-8"))
