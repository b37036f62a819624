"""The Playground in a real JupyterLab, and the three recorded runs on their page, both offline."""

import re

import pytest
from explorers import PATIENCE
from playwright.sync_api import expect

from lliptools.teach.publish import gallery, story

pytestmark = pytest.mark.browser
MAKE = """
import lliptools as ll
shown = ll.teach.Playground(points=40, hidden=(8, 8), eps=0.2)
shown
"""
SAID = "number => new RegExp(`^Epoch ${number}:`).test(document.querySelector('.ll-play [role=status]')?.textContent)"
EPOCH = "Number(document.querySelector('.ll-play .bar output').textContent.replace('epoch ', ''))"
PIXELS = "canvas => canvas.toDataURL()"
# Along the edges of the plane, where no disc is: how often the class changes, and how often no border is drawn there.
BORDER = """
canvas => {
  const { width: n } = canvas, { data } = canvas.getContext("2d").getImageData(0, 0, n, n), found = [0, 0];
  for (const at of [(k) => 3 * n + k, (k) => (n - 4) * n + k, (k) => k * n + 3, (k) => k * n + n - 4]) {
    const color = (k) => data.slice(4 * at(k), 4 * at(k) + 3), warm = (k) => Math.sign(color(k)[0] - color(k)[2]);
    const light = (k) => Math.min(...color(k)) > 176;  // no line of a neuron
    const sure = [...Array(n).keys()].filter((k) => light(k) && Math.abs(color(k)[0] - color(k)[2]) > 6);
    sure.slice(1).forEach((k, i) => {
      if (warm(k) === warm(sure[i])) return;
      found[0] += 1;
      const between = Array.from({ length: k - sure[i] + 5 }, (_, j) => sure[i] - 2 + j);
      if (!between.some((j) => color(j)[0] + color(j)[1] + color(j)[2] < 300)) found[1] += 1;
    });
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def page(lab):
    page = lab.open("playground.ipynb", [MAKE])
    lab.run(page, 0)
    page.wait_for_function(SAID, arg=0)
    yield page
    page.close()


@pytest.fixture(autouse=True)
def _anew(request, lab, page):
    """A test that is run once more finds a fresh one."""
    if getattr(request.node, "execution_count", 1) > 1:
        lab.run(page, 0)
        page.wait_for_function(SAID, arg=0)


def epoch(page):
    return page.evaluate(EPOCH)


def press(page, name):
    page.locator(".ll-play").get_by_role("button", name=name, exact=True).click()


def test_play_pause_step_and_the_scrubber(lab, page):
    plane, call = page.locator(".ll-play .plane"), page.locator(".ll-play code")
    first = plane.evaluate(PIXELS)
    press(page, "▶ play")
    page.wait_for_function(f"{EPOCH} >= 5", timeout=1000 * PATIENCE)
    assert plane.evaluate(PIXELS) != first
    press(page, "❚❚ pause")
    expect(call).to_contain_text("epochs=")
    page.wait_for_timeout(500)
    last, drawn = epoch(page), plane.evaluate(PIXELS)
    expect(call).to_contain_text(f"epochs={last})")
    page.wait_for_timeout(500)
    assert (epoch(page), plane.evaluate(PIXELS)) == (last, drawn)
    changes, without = plane.evaluate(BORDER)
    assert without < changes  # a disc at the edge may look like the other class; the border is there all the same
    press(page, "step")
    page.wait_for_function(SAID, arg=last + 1)
    scrubber = page.get_by_role("slider", name="epoch")
    scrubber.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(SAID, arg=last)
    assert plane.evaluate(PIXELS) == drawn
    page.keyboard.press("Home")
    page.wait_for_function(SAID, arg=0)
    assert plane.evaluate(PIXELS) == first
    press(page, "step")  # goes on from the last, whatever is looked at
    page.wait_for_function(SAID, arg=last + 2)
    assert lab.complaints_of(page) == []


def test_controls_points_and_the_theme(lab, page):
    call, near = page.locator(".ll-play code"), page.locator(".ll-play .near")
    press(page, "restart")
    page.wait_for_function(SAID, arg=0)
    press(page, "global")
    expect(call).to_contain_text("bound='global'")
    press(page, "circles")
    expect(call).to_contain_text("data='circles'")
    page.locator(".ll-play .plane").focus()
    words = near.text_content()
    page.keyboard.press("ArrowRight")
    expect(call).to_contain_text("point=1")
    assert near.text_content() != words
    press(page, "draw ✎")
    expect(call).to_contain_text("data=()")
    box = page.locator(".ll-play .plane").bounding_box()
    for k, brush in enumerate(("● class 0", "■ class 1")):
        press(page, brush)
        for side in (0, 40):
            page.mouse.click(box["x"] + 80 + 200 * k, box["y"] + 150 + side)
    expect(call).to_have_text(re.compile(r"data=(\(\(.*, 0\), \(.*, 0\), \(.*, 1\), \(.*, 1\)\))"))
    light = page.locator(".ll-play").evaluate("box => getComputedStyle(box).color")
    page.evaluate("document.body.style.setProperty('--jp-layout-color0', '#111111')")
    page.wait_for_function("light => getComputedStyle(document.querySelector('.ll-play')).color !== light", arg=light)
    page.evaluate("document.body.style.removeProperty('--jp-layout-color0')")
    assert page.locator(".ll-play").bounding_box()["height"] <= 640
    assert lab.complaints_of(page) == []


def test_the_units_answer_the_keyboard_and_the_mouse(lab, page):
    """A unit lights its row and column, and says its numbers."""
    matrices = page.locator(".ll-play canvas[aria-label^='What is left']")
    matrices.focus()
    page.keyboard.press("ArrowRight")
    said = page.locator(".ll-play [aria-live=polite]")
    expect(said).to_contain_text("unit 0 of layer 1")
    page.keyboard.press("ArrowDown")
    expect(said).to_contain_text("unit 0 of layer 2")
    page.keyboard.press("Escape")
    box = matrices.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 45)
    expect(said).to_contain_text("of layer 1")
    assert lab.complaints_of(page) == []


def test_a_saved_notebook_keeps_the_picture(lab, page):
    assert lab.save(page, "playground.ipynb", pictures=1)
    assert lab.complaints_of(page) == []


def test_the_three_recorded_runs_need_no_kernel(browser, tmp_path, monkeypatch, artefacts):
    monkeypatch.setattr(story, "EPOCHS", 6)
    gallery.write(tmp_path, ["playground"])
    complaints = []
    page = browser.new_page(viewport={"width": 900, "height": 1000}, color_scheme="light", reduced_motion="reduce")
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or complaints.append(request.url)
    )
    page.goto((tmp_path / "playground.html").as_uri())
    page.wait_for_selector("#runs[data-ready]")
    assert page.locator("#runs section").count() == 3
    planes, said = page.locator("#runs .plane"), page.get_by_role("status")
    first, words = [plane.evaluate(PIXELS) for plane in planes.all()], said.text_content()
    assert all(title in words for title, *_ in story.RUNS)
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    expect(said).not_to_have_text(words)
    page.wait_for_timeout(200)
    assert all(plane.evaluate(PIXELS) != before for plane, before in zip(planes.all(), first, strict=True))
    page.screenshot(path=artefacts / "gallery_playground.png")
    end = said.text_content()
    page.get_by_role("button", name="play").click()  # from the beginning, to the end
    expect(page.get_by_role("button", name="pause")).to_have_count(1)
    expect(page.get_by_role("button", name="play")).to_have_count(1)
    expect(said).to_have_text(end)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.getElementById('runs').style.getPropertyValue('--ground') === '#171717'")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not complaints
    page.close()
