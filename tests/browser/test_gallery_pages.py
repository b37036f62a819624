"""Every page of the gallery from its file: whole, small, by keyboard and by drag, light and dark, without a request."""

import html
import re
from functools import partial

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import expect

from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.shared.style import CERTIFIED, INK, REFUTED, STATES, TINTS, UNPROVED
from lliptools.teach.shared.transport import SCRIPTS

pytestmark = pytest.mark.browser
FIGURE = "(({data, layout}) => JSON.stringify([data, layout.annotations]))(document.querySelector('.ll-board').shown())"
# Keeps every picture that is drawn, however slowly.
WATCH = f"""
() => {{
  window.seen = new Set();
  const look = () => window.seen.add({FIGURE});
  new MutationObserver(look).observe(document.querySelector("[role=status]"), {{childList: true}});
}}
"""


@pytest.fixture(scope="module")
def folder(site):
    return site / "gallery"


class Opened:
    """A page of the gallery, and what it complained of or asked for."""

    def __init__(self, browser, path):
        self.page = browser.new_page(
            viewport={"width": 900, "height": 1000}, color_scheme="light", reduced_motion="reduce"
        )
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#figure[data-ready]")
        self.slider = self.page.get_by_role("slider")
        self.status = self.page.get_by_role("status")

    def _note(self, url):
        if not url.startswith(("file:", "blob:", "data:")):
            self.complaints.append(url)

    def shoot(self, path):
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=path)
        return Image.open(path).convert("RGB")

    def figure(self):
        """What plotly was told to show."""
        return self.page.evaluate(FIGURE)


@pytest.fixture(scope="module", params=[name for name, example in EXAMPLES.items() if example.control])
def opened(request, browser, folder):
    page = Opened(browser, folder / f"{request.param}.html")
    page.name = request.param
    yield page
    page.page.close()


def test_pages_are_whole_and_small(folder):
    assert (folder / "plotly.min.js").stat().st_size > 1e6
    index = (folder / "index.html").read_text()
    for name, page in EXAMPLES.items():
        path = folder / f"{name}.html"
        assert path.stat().st_size <= 2e6
        assert f"href='{name}.html'" in index
        assert html.escape(page.question) in index
        text = path.read_text()
        assert "$" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)  # every blank is filled
        shared = ["gallery.css", "plotly.min.js", "index.html"] if page.control else ["gallery.css", "index.html"]
        markup = re.sub(r"(<script[^>]*>).*?</script>", r"\1", text, flags=re.S)
        assert re.findall(r"(?:src|href)=[\"']([^\"']+)", markup) == shared
        assert not re.search(r"https?://", re.sub(r"<script.*?</script>", "", text, flags=re.S))


def test_the_slider_is_named(opened):
    assert opened.slider.count() == 1
    label = opened.page.locator("label[for=slider]").text_content()
    assert label
    expect(opened.page.get_by_label(label)).to_have_count(1)


def test_by_keyboard(opened):
    said, shown, values = set(), set(), set()
    opened.slider.focus()
    last = int(opened.slider.get_attribute("max"))
    for key, at in (("Home", 0), ("ArrowRight", 1), ("End", last), ("ArrowLeft", last - 1), ("PageDown", None)):
        opened.page.keyboard.press(key)
        assert at is None or int(opened.slider.input_value()) == at
        said.add(opened.status.text_content())
        shown.add(opened.figure())
        values.add(opened.slider.get_attribute("aria-valuetext"))
    assert len(said) == len(shown) == len(values) == 5
    assert not opened.complaints


def test_by_drag(opened, artefacts):
    opened.slider.focus()
    opened.page.keyboard.press("Home")
    before, first = opened.status.text_content(), opened.shoot(artefacts / "gallery_before.png")
    box = opened.slider.bounding_box()
    y = box["y"] + box["height"] / 2
    opened.page.mouse.move(box["x"] + 8, y)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=30)
    opened.page.mouse.up()
    at, last = int(opened.slider.input_value()), int(opened.slider.get_attribute("max"))
    assert 0.5 < at / last < 0.7
    assert opened.status.text_content() != before
    assert ImageChops.difference(first, opened.shoot(artefacts / "gallery_after.png")).getbbox()
    assert not opened.complaints


def test_a_window_that_becomes_narrow_scrolls_down_only(opened):
    """Panels go below each other, and none stays where it stood on a wide page."""
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.wait_for_selector(".ll-narrow")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    for panel in opened.page.locator(".ll-panel").all():
        box = panel.bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
    opened.page.set_viewport_size({"width": 900, "height": 1000})
    opened.page.wait_for_selector(".ll-board:not(.ll-narrow)")
    assert not opened.complaints


def test_there_and_back_is_the_same(opened):
    """What is sent from one picture to the next leaves nothing of it behind."""
    opened.slider.focus()
    opened.page.keyboard.press("Home")
    first, said = opened.figure(), opened.status.text_content()
    for key in ("End", "PageDown", "Home"):
        opened.page.keyboard.press(key)
    assert (opened.figure(), opened.status.text_content()) == (first, said)


def test_what_moves_leave_is_what_a_whole_drawing_shows(opened, artefacts):
    """Of a panel in which only points have moved, plotly draws no axes and no texts again."""
    opened.slider.focus()
    opened.page.keyboard.press("Home")
    for _ in range(4):
        opened.page.keyboard.press("ArrowRight")
        opened.page.wait_for_timeout(50)
    moved = opened.shoot(artefacts / "gallery_moved.png")
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_timeout(100)
    opened.page.emulate_media(color_scheme="light")
    drawn = opened.shoot(artefacts / "gallery_drawn.png")
    assert not ImageChops.difference(moved, drawn).getbbox()


def test_a_leap_is_seen_as_a_movement(opened):
    """A leap passes through pictures in between, unless the reader's system asks for less motion, and ends the same."""
    press = opened.page.keyboard.press
    opened.slider.focus()
    press("End")
    last = opened.figure()
    press("ArrowLeft")
    before_last = opened.figure()
    press("Home")
    opened.page.emulate_media(reduced_motion="no-preference")
    opened.page.evaluate(WATCH)
    press("End")
    opened.page.wait_for_function(f"last => {FIGURE} === last", arg=last)
    assert opened.page.evaluate("window.seen.size") > 1
    press("Home")
    press("End")
    press("ArrowLeft")  # before the movement has ended
    opened.page.wait_for_function(f"last => {FIGURE} === last", arg=before_last)
    opened.page.wait_for_timeout(200)
    assert opened.figure() == before_last
    opened.page.emulate_media(reduced_motion="reduce")
    assert not opened.complaints


def luminance(color):
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_dark_colours_can_be_read_and_told_apart(browser):
    page = browser.new_page()
    page.add_script_tag(content=f"{SCRIPTS}\nwindow.darkColor = darkColor;", type="module")
    page.wait_for_function("typeof window.darkColor === 'function'")
    dark = partial(page.evaluate, "color => darkColor(color)")
    ground = dark("#FFFFFF")
    assert luminance(ground) < 0.02
    assert contrast(dark(INK), ground) > 10
    marks = {dark(color) for color in (CERTIFIED, UNPROVED, REFUTED, *(state.color for state in STATES))}
    assert len(marks) == 6
    assert all(contrast(mark, ground) >= 3 for mark in marks)
    for tint in TINTS:
        assert contrast(dark(INK), dark(tint)) > 4.5
    page.close()


def test_the_page_follows_the_scheme(opened, artefacts):
    light = opened.shoot(artefacts / f"gallery_{opened.name}_light.png")
    opened.page.emulate_media(color_scheme="dark")
    dark = opened.shoot(artefacts / f"gallery_{opened.name}_dark.png")
    assert sum(dark.getpixel((5, 5))) < 200
    bright = sum(sum(pixel) > 600 for pixel in dark.get_flattened_data())
    assert bright < 0.1 * dark.width * dark.height  # nothing is left white but what is written
    opened.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    again = opened.shoot(artefacts / f"gallery_{opened.name}_light.png")
    assert not ImageChops.difference(light, again).getbbox()
    assert not opened.complaints


def test_matrices_follow_the_slider(browser, folder):
    page = Opened(browser, folder / "neurons-digits.html")
    canvas = page.page.locator(".ll-weights canvas")
    page.slider.focus()
    page.page.keyboard.press("Home")
    expect(canvas).to_have_attribute("aria-label", re.compile("W3: 10 of 10 rows"))
    first = canvas.evaluate("canvas => canvas.toDataURL()")
    page.page.keyboard.press("End")
    expect(canvas).to_have_attribute("aria-label", re.compile("W1: 109 of 128 rows and 64 of 64 columns"))
    page.page.wait_for_timeout(200)
    assert canvas.evaluate("canvas => canvas.toDataURL()") != first
    box = canvas.bounding_box()
    page.page.mouse.move(box["x"] + 60, box["y"] + 60)
    expect(page.page.locator(".ll-weights [aria-live]")).to_contain_text("of layer 1: varying: unstable in [")
    assert not page.complaints
    page.page.close()


def test_the_index_leads_to_every_page(browser, folder):
    page = browser.new_page()
    page.goto((folder / "index.html").as_uri())
    for link in page.get_by_role("listitem").get_by_role("link").all():
        assert (folder / link.get_attribute("href")).exists()
    assert page.get_by_role("listitem").count() == len(EXAMPLES)
    page.close()


def test_the_index_shows_a_picture_of_every_page(browser, folder, artefacts):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto((folder / "index.html").as_uri())
    pictures = page.locator("li a img")
    expect(pictures).to_have_count(len(EXAMPLES))
    assert all(picture.evaluate("image => image.decode().then(() => image.naturalWidth)") for picture in pictures.all())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 800})
    page.screenshot(path=artefacts / "gallery_index.png", full_page=True)
    page.close()
