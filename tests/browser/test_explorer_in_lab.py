"""Notebook 04 in a real JupyterLab, offline: the keyboard moves ε, and figure and text follow."""

import re

import pytest
from explorers import Explorer
from PIL import ImageChops
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
GOAL_MEDIAN, GOAL_TAIL = 120, 200  # milliseconds; a test fails at three times these


@pytest.fixture(scope="module")
def explorer(lab):
    page = lab.open("04_which_neurons_are_fixed.ipynb")
    page.on("dialog", lambda dialog: dialog.accept())
    yield Explorer(page)
    page.close()


def matrices(titles):
    """(rows, columns) kept of each weight matrix."""
    return [tuple(map(int, re.search(r"→ (\d+)×(\d+)", title).groups())) for title in titles if "→" in title]


def test_the_keyboard_moves_eps(explorer, artefacts):
    explorer.wait("ε = 0 ·")
    explorer.press("ε", *["PageUp"] * 5)
    explorer.wait("ε = 0.1 ·")
    middle, titles = explorer.shoot(artefacts / "04_middle.png"), explorer.titles()
    explorer.press("ε", "ArrowLeft")
    explorer.wait("ε = 0.096 ·")
    explorer.press("ε", "Home")
    explorer.wait("ε = 0 ·")
    low, at_low = explorer.shoot(artefacts / "04_low.png"), matrices(explorer.titles())
    explorer.press("ε", "End")
    explorer.wait("ε = 0.4 ·")
    high, at_high = explorer.shoot(artefacts / "04_high.png"), matrices(explorer.titles())
    assert all(few[0] <= many[0] and few[1] <= many[1] for few, many in zip(at_low, at_high, strict=True))
    assert at_low[1] < at_high[1]
    assert matrices(titles) == [(43, 64), (66, 43), (10, 66)]
    for one, other in ((low, middle), (middle, high), (low, high)):
        assert ImageChops.difference(one, other).getbbox()


def test_a_fast_drag_ends_on_the_exact_value(explorer):
    explorer.press("ε", "Home")
    explorer.wait("ε = 0 ·")
    explorer.drag("ε", 0.5)
    value = float(explorer.readout("ε"))
    assert 0.15 < value < 0.25
    explorer.wait(f"ε = {value:g} ·")


def test_the_slider_keeps_up_with_the_hand(explorer, artefacts):
    explorer.press("ε", "Home")
    explorer.wait("ε = 0 ·")
    latency = explorer.latency("ε")
    (artefacts / "latency.txt").write_text(f"{latency}\n")
    assert latency.median <= 3 * GOAL_MEDIAN
    assert latency.tail <= 3 * GOAL_TAIL


def test_the_other_sliders_and_reset(explorer):
    explorer.press("point", "ArrowRight")
    expect(explorer.page.locator("code").filter(has_text="index=4")).to_be_visible()
    explorer.press("θ times", "ArrowLeft", "ArrowLeft")
    expect(explorer.page.locator("code").filter(has_text="theta_scale=0.707107")).to_be_visible()
    explorer.page.get_by_role("button", name="reset").first.click()
    explorer.wait("ε = 0 ·")
    explorer.wait("label 7, predicted 7")


def test_a_misclassified_point_and_back(explorer, artefacts):
    """The first wrong digit is number 15; the figure follows there and back."""
    explorer.press("ε", *["PageUp"] * 5)
    explorer.wait("ε = 0.1 ·")
    before = explorer.titles()
    explorer.press("point", *["ArrowRight"] * 12)
    explorer.wait("label 8, predicted 1")
    explorer.shoot(artefacts / "04_misclassified.png")
    assert "misclassified: nothing to certify" in explorer.titles()
    assert not any("✔" in title for title in explorer.titles())
    explorer.press("point", *["ArrowLeft"] * 12)
    explorer.wait("label 7, predicted 7")
    explorer.shoot(artefacts / "04_back.png")
    assert explorer.titles() == before


def test_plane(explorer, artefacts):
    plane = explorer.page.locator(".js-plotly-plot").nth(1)
    plane.scroll_into_view_if_needed()
    explorer.page.wait_for_timeout(300)
    plane.screenshot(path=artefacts / "04_plane.png")
    assert "→" in " ".join(plane.locator(".annotation-text").all_text_contents())


def test_every_control_is_named_and_nothing_uploads(explorer):
    for control in explorer.page.locator(".widget-hslider").all():
        assert control.locator(".widget-label").get_attribute("title")
        assert control.locator(".widget-label").text_content()
    assert explorer.page.locator("[data-title*='Share'], [data-title*='Cloud']").count() == 0


def test_offline_and_without_a_complaint(explorer, lab):
    assert lab.outside == []
    assert lab.errors == []


def test_no_cell_failed(explorer):
    complaints = ".jp-OutputArea-output[data-mime-type*='error'], .jp-OutputArea-output[data-mime-type*='stderr']"
    assert explorer.page.locator(".jp-OutputArea-output").count() > 5
    assert explorer.page.locator(complaints).all_text_contents() == []
