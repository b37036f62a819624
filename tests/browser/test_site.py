"""The site that `make site` builds, walked from its files: every page whole, no request, the explorers alive."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
PAGES = [
    *("index", "gallery/index", "reference/lliptools", "benchmarks/RESULTS", "CONTRIBUTING"),
    *(f"docs/{name}" for name in ("overview", "your_network", "supported", "soundness", "notation", "playground")),
    *(f"notebooks/{name}" for name in NOTEBOOKS),
]


@pytest.fixture
def walk(browser):
    """Opens a page, and has kept in `.complaints` what it said, lacked or asked for outside."""

    def opened(path, width=1280):
        page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("requestfailed", lambda request: page.complaints.append(request.url))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "blob:", "data:")) or page.complaints.append(request.url),
        )
        page.goto(path.as_uri())
        pages.append(page)
        return page

    pages = []
    yield opened
    for page in pages:
        page.close()


def test_it_is_small(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 40e6


def test_every_page_is_whole_and_asks_for_nothing(site, walk):
    for name in PAGES:
        page = walk(site / f"{name}.html")
        expect(page.locator("h1, h2").first).to_be_visible()
        text = page.locator("body").inner_text()
        assert len(text) > 500, name
        assert not re.search(r"\$\\|\\frac|\\lVert|</?details", text), name
        assert page.complaints == [], name


def test_a_slider_moves_in_a_notebook(site, walk):
    page = walk(site / "notebooks" / "01_margins_and_certificates.html")
    page.locator("iframe").first.scroll_into_view_if_needed()
    frame = page.frame_locator("iframe").first
    slider, status = frame.get_by_role("slider"), frame.get_by_role("status")
    expect(frame.locator("#figure[data-ready]")).to_be_visible()
    before = status.inner_text()
    slider.press("End")
    expect(status).not_to_have_text(before)
    assert page.complaints == []


def test_a_phone_need_not_scroll_sideways(site, walk, artefacts):
    for name in ("index", f"notebooks/{NOTEBOOKS[4]}"):
        page = walk(site / f"{name}.html", width=390)
        page.screenshot(path=artefacts / f"site_phone_{Path(name).stem}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    walk(site / "index.html").screenshot(path=artefacts / "site.png")
