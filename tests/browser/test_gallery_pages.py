"""Every page of the gallery from its file: by keyboard and by drag, in the light and in the dark, without a request."""

import pytest
from browser import chromium, open_browser
from explorers import missing_chromium
from PIL import Image, ImageChops
from playwright.sync_api import expect

from lliptools.teach import gallery

pytestmark = pytest.mark.browser
# Milliseconds from a key's value to the next frame.
MOVE = """
async (slider) => {
  const start = performance.now();
  slider.stepUp();
  slider.dispatchEvent(new Event("input"));
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}
"""
FIGURE = "JSON.stringify([document.getElementById('figure').data, document.getElementById('figure').layout])"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    missing_chromium()
    folder = tmp_path_factory.mktemp("gallery")
    gallery.write(folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    assert chromium()
    with open_browser() as running:
        yield running


class Opened:
    """A page of the gallery, and what it complained of or asked for."""

    def __init__(self, browser, path, scheme):
        self.page = browser.new_page(viewport={"width": 900, "height": 1000}, color_scheme=scheme)
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
        """All that plotly was told to show."""
        return self.page.evaluate(FIGURE)


@pytest.fixture(scope="module", params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(scope="module", params=list(gallery.PAGES))
def opened(request, browser, folder, scheme):
    page = Opened(browser, folder / f"{request.param}.html", scheme)
    page.name = request.param
    yield page
    page.page.close()


def test_the_slider_is_named(opened):
    assert opened.slider.count() == 1
    label = opened.page.locator("label[for=slider]").text_content()
    assert label
    expect(opened.page.get_by_label(label)).to_have_count(1)


def test_by_keyboard(opened, artefacts, scheme):
    said, shown, values = set(), set(), set()
    opened.slider.focus()
    last = int(opened.slider.get_attribute("max"))
    for key, at in (("Home", 0), ("ArrowRight", 1), ("End", last), ("ArrowLeft", last - 1), ("PageDown", None)):
        opened.page.keyboard.press(key)
        assert at is None or int(opened.slider.input_value()) == at
        said.add(opened.status.text_content())
        shown.add(opened.figure())
        values.add(opened.slider.get_attribute("aria-valuetext"))
        opened.shoot(artefacts / f"gallery_{opened.name}_{scheme}_{key}.png")
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


def test_there_and_back_is_the_same(opened):
    """What is sent from one picture to the next leaves nothing of it behind."""
    opened.slider.focus()
    opened.page.keyboard.press("Home")
    first, said = opened.figure(), opened.status.text_content()
    for key in ("End", "PageDown", "Home"):
        opened.page.keyboard.press(key)
    assert (opened.figure(), opened.status.text_content()) == (first, said)


def test_it_keeps_up_with_the_hand(opened):
    opened.slider.focus()
    opened.page.keyboard.press("Home")
    slider = opened.slider.element_handle()
    times = sorted(opened.page.evaluate(MOVE, slider) for _ in range(20))
    assert times[10] <= 360


def test_the_page_follows_the_scheme(opened, artefacts, scheme):
    other = {"light": "dark", "dark": "light"}[scheme]
    before = opened.figure()
    opened.page.emulate_media(color_scheme=other)
    opened.page.wait_for_function(f"before => {FIGURE} !== before", arg=before)
    corner = opened.shoot(artefacts / "gallery_turned.png").getpixel((5, 5))
    assert (sum(corner) < 200) == (other == "dark")
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.wait_for_function(f"before => {FIGURE} === before", arg=before)
    assert not opened.complaints


def test_the_index_leads_to_every_page(browser, folder):
    page = browser.new_page()
    page.goto((folder / "index.html").as_uri())
    for link in page.get_by_role("listitem").get_by_role("link").all():
        assert (folder / link.get_attribute("href")).exists()
    assert page.get_by_role("listitem").count() == len(gallery.PAGES)
    page.close()
