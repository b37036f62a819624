"""The explorers of margins, norms and products in a real JupyterLab, offline: every control by keyboard."""

import re

import nbformat
import pytest
from PIL import Image, ImageChops
from playwright.sync_api import expect
from test_explorer_in_lab import DRAG, GOAL_MEDIAN, GOAL_TAIL, PRESS

pytestmark = pytest.mark.browser
NOTEBOOK = "first_explorers.ipynb"
CELLS = (
    "import torch\nimport lliptools as ll\nmoons = ll.training.moons()\nnet = ll.nets.load('moons')",
    "ll.teach.widgets.MarginExplorer(net, moons.x_test, moons.y_test, index=7)",
    "ll.teach.widgets.NormExplorer()",
    "ll.teach.widgets.ProductExplorer(ll.nets.fold(2, 8), depth=3)",
)
# A press after which nothing follows fails, and does not hang.
PATIENT = (
    f"what => Promise.race([({PRESS})(what), new Promise((_, no) => setTimeout(() => no('nothing followed'), 9000))])"
)
KINDS = ("margin", "norm", "product")


class Explorer:
    """One of the notebook's explorers, as a person at the keyboard finds it."""

    def __init__(self, page, number):
        self.page = page
        self.box = page.locator(".jp-OutputArea-output .widget-vbox").nth(number)
        self.box.locator(".js-plotly-plot").wait_for(timeout=90_000)
        self.figure, self.summary = self.box.locator(".js-plotly-plot"), self.box.locator("[role=status]")

    def slider(self, name):
        label = self.page.locator(".widget-label", has_text=re.compile(f"^{re.escape(name)}$"))
        return self.box.locator(".widget-hslider").filter(has=label)

    def press(self, name, *keys):
        self.slider(name).locator(".noUi-handle").focus()
        for key in keys:
            self.page.keyboard.press(key)

    def titles(self):
        return self.figure.locator(".annotation-text").all_text_contents()

    def shoot(self, path):
        self.figure.scroll_into_view_if_needed()
        self.page.wait_for_timeout(500)
        self.figure.screenshot(path=path)
        return Image.open(path).convert("RGB")

    def drag(self, name):
        """Shake the slider from one end to its middle, and give what its readout says."""
        self.press(name, "Home")
        self.page.wait_for_timeout(300)
        handle = self.slider(name).locator(".noUi-handle").bounding_box()
        base = self.slider(name).locator(".noUi-base").bounding_box()
        x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
        self.page.evaluate(DRAG, [x, x + base["width"] / 2, y])
        return float(self.slider(name).locator(".widget-readout").text_content().replace("−", "-"))


@pytest.fixture(scope="module")
def explorers(lab):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.root / NOTEBOOK)
    page = lab.open(NOTEBOOK, height=2900)
    page.on("dialog", lambda dialog: dialog.accept())
    found = {kind: Explorer(page, number) for number, kind in enumerate(KINDS)}
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)
    yield found
    page.close()


def test_margin_by_keyboard(explorers, artefacts):
    margin = explorers["margin"]
    expect(margin.summary).to_contain_text("point (0.08, 0.2) · class 1, predicted 1")
    start = margin.shoot(artefacts / "margin_global.png")
    margin.press("x0", "ArrowRight", "ArrowRight")
    expect(margin.summary).to_contain_text("point (0.12, 0.2)")
    margin.press("x1", "End")
    expect(margin.summary).to_contain_text("class 0, predicted 0")
    margin.press("class y", "End")
    expect(margin.summary).to_contain_text("class 1 does not win here: nothing to certify")
    assert not any("✔" in title for title in margin.titles())
    margin.shoot(artefacts / "margin_nothing.png")
    margin.box.locator("button.widget-button").click()
    expect(margin.summary).to_contain_text("point (0.08, 0.2)")
    margin.press("L from", "ArrowRight")
    expect(margin.summary).to_contain_text("local bound on the ball")
    local = margin.shoot(artefacts / "margin_local.png")
    margin.press("L from", "ArrowRight")
    expect(margin.summary).to_contain_text("exact constant on the ball")
    margin.shoot(artefacts / "margin_exact.png")
    margin.press("assumed L", "Home")
    expect(margin.summary).to_contain_text("assumed L = 4 ")
    expect(margin.summary).to_contain_text("refuted")
    refuted = margin.shoot(artefacts / "margin_refuted.png")
    assert not any("✔" in title for title in margin.titles())
    for one, other in ((start, local), (local, refuted)):
        assert ImageChops.difference(one, other).getbbox()
    margin.box.locator("button.widget-button").click()
    expect(margin.summary).to_contain_text("global bound")


def test_a_click_on_the_map_moves_the_point(explorers):
    margin = explorers["margin"]
    margin.figure.scroll_into_view_if_needed()
    plot = margin.figure.locator(".nsewdrag").first.bounding_box()
    explorers["margin"].page.mouse.click(plot["x"] + 0.75 * plot["width"], plot["y"] + 0.25 * plot["height"])
    expect(margin.summary).to_contain_text("class 0, predicted 0")
    x0, x1 = map(float, re.search(r"point \((\S+), (\S+)\)", margin.summary.text_content()).groups())
    assert 0.8 < x0 < 1.8
    assert 0.8 < x1 < 1.6
    margin.box.locator("button.widget-button").click()
    expect(margin.summary).to_contain_text("point (0.08, 0.2)")


def test_norm_by_keyboard(explorers, artefacts):
    norm = explorers["norm"]
    expect(norm.summary).to_contain_text("iteration 5: power ≥ 0.97428")
    start = norm.shoot(artefacts / "norm_middle.png")
    norm.press("iteration", "Home")
    expect(norm.summary).to_contain_text("iteration 0")
    norm.shoot(artefacts / "norm_low.png")
    norm.press("iteration", "End")
    expect(norm.summary).to_contain_text("iteration 40")
    norm.press("σ₂/σ", "ArrowLeft")
    expect(norm.summary).to_contain_text("σ₂/σ = 0.89")
    norm.press("angle in degrees", "End")
    expect(norm.summary).to_contain_text("power ≥ 0.89 (from below)")
    end = norm.shoot(artefacts / "norm_never.png")
    assert ImageChops.difference(start, end).getbbox()
    norm.box.locator("button.widget-button").click()
    expect(norm.summary).to_contain_text("iteration 5: power ≥ 0.97428")


def test_product_by_keyboard(explorers, artefacts):
    product = explorers["product"]
    expect(product.summary).to_contain_text("product of norms ≤ 8 ·")
    middle = product.shoot(artefacts / "product_middle.png")
    product.press("depth in steps", "ArrowRight")
    expect(product.summary).to_contain_text("product of norms ≤ 16 ·")
    product.press("depth in steps", "Home")
    expect(product.summary).to_contain_text("depth 0 of 8")
    low = product.shoot(artefacts / "product_low.png")
    product.press("depth in steps", "End")
    expect(product.summary).to_contain_text("product of norms ≤ 256 · best sampled slope 1, from below")
    assert "depth 8: the ball becomes" in product.titles()
    high = product.shoot(artefacts / "product_high.png")
    for one, other in ((low, middle), (middle, high)):
        assert ImageChops.difference(one, other).getbbox()


def test_a_fast_drag_ends_on_the_exact_value(explorers):
    value = explorers["margin"].drag("x0")
    assert 0.2 < value < 0.8
    expect(explorers["margin"].summary).to_contain_text(f"point ({value:g}, 0.2)")
    value = explorers["norm"].drag("iteration")
    assert 15 <= value <= 25
    expect(explorers["norm"].summary).to_contain_text(f"iteration {value:g}:")
    value = explorers["product"].drag("depth in steps")
    assert 3 <= value <= 5
    expect(explorers["product"].summary).to_contain_text(f"depth {value:g} of 8")


@pytest.mark.parametrize(("kind", "slider"), [("margin", "x0"), ("norm", "angle in degrees"), ("norm", "iteration")])
def test_the_slider_keeps_up_with_the_hand(explorers, artefacts, kind, slider):
    explorer = explorers[kind]
    if kind == "norm":
        explorer.press("iteration", "Home")  # where every angle has a text of its own
    explorer.press(slider, "Home")
    explorer.page.wait_for_timeout(1000)
    handle = explorer.slider(slider).locator(".noUi-handle").element_handle()
    figure, box, times = explorer.figure.element_handle(), explorer.box.element_handle(), []
    for _ in range(30):
        times.append(explorer.page.evaluate(PATIENT, [handle, figure, box]))
    times.sort()
    (artefacts / f"latency_{kind}_{slider.split()[0]}.txt").write_text(
        f"median {times[15]:.0f} ms, p95 {times[28]:.0f} ms\n"
    )
    assert times[15] <= 3 * GOAL_MEDIAN
    assert times[28] <= 3 * GOAL_TAIL


def test_every_control_is_named_and_nothing_uploads(explorers):
    page = explorers["margin"].page
    for control in page.locator(".widget-hslider, .widget-dropdown").all():
        assert control.locator(".widget-label").get_attribute("title")
        assert control.locator(".widget-label").text_content()
    assert page.locator("[data-title*='Share'], [data-title*='Cloud']").count() == 0


def test_offline_and_without_a_complaint(explorers, lab):
    complaints = ".jp-OutputArea-output[data-mime-type*='error'], .jp-OutputArea-output[data-mime-type*='stderr']"
    assert explorers["margin"].page.locator(complaints).all_text_contents() == []
    assert lab.outside == []
    assert lab.errors == []
