"""What a single explorer does besides, in a real JupyterLab, offline: a wrong point, a hand on the map, a run."""

import re

import pytest
from playwright.sync_api import expect
from walks import busy_kernel

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("anew")]


def only(name):
    return pytest.mark.parametrize("explorer", [name], indirect=True)


@only("neurons")
def test_a_misclassified_point_and_back(explorer, lab, artefacts):
    """The first wrong digit is number 15; the figure follows there and back."""
    explorer.press_button("reset")
    explorer.wait_call("index=3, eps=0.1,")
    before = explorer.drawn()
    explorer.press("point", *["ArrowRight"] * 12)
    explorer.wait("label 8, predicted 1")
    explorer.wait_call("index=15,")
    expect(explorer.figure).to_contain_text("misclassified: nothing to certify")
    assert not any("✔" in title for title in explorer.titles())
    explorer.picture(artefacts / "neurons_misclassified.png")
    explorer.press("point", *["ArrowLeft"] * 12)
    explorer.wait_call("index=3,")
    explorer.wait_drawn(before)
    assert lab.complaints_of(explorer.page) == []


@only("margins")
def test_a_hand_on_the_map_moves_the_point(explorer, lab):
    explorer.press_button("reset")
    explorer.wait("point (0.08, 0.2)")
    explorer.wait("true distance")  # the whole picture: a click on one that is being replaced is lost
    plot = explorer.figure.locator(".nsewdrag").first.bounding_box()
    explorer.page.mouse.click(plot["x"] + 0.75 * plot["width"], plot["y"] + 0.25 * plot["height"])
    explorer.wait("class 0, predicted 0")
    x0, x1 = map(float, re.search(r"point \((\S+), (\S+)\)", explorer.summary.text_content()).groups())
    assert 0.8 < x0 < 1.8
    assert 0.8 < x1 < 1.6
    assert (explorer.readout("x0"), explorer.readout("x1")) == (f"{x0:.2f}", f"{x1:.2f}")
    mouse, middle = explorer.page.mouse, (plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2)
    mouse.move(*middle)
    mouse.down()
    mouse.move(middle[0] - 60, middle[1] + 40, steps=12)
    mouse.up()
    expect(explorer.summary).not_to_contain_text(f"point ({x0:g}, {x1:g})")
    explorer.wait_still()
    scale = float(plot["width"]) / (2.22 + 1.32)
    assert float(explorer.readout("x0")) == pytest.approx((2.22 - 1.32) / 2 - 60 / scale, abs=0.05)
    assert lab.complaints_of(explorer.page) == []


@only("training")
def test_a_run_is_watched_and_stopped(explorer, lab, artefacts):
    explorer.press("epochs", "End")
    explorer.wait_call("epochs=200")
    expect(explorer.button("stop")).to_be_disabled()
    explorer.press_button("start")
    expect(explorer.summary).to_contain_text(re.compile(r"epoch ([3-9]|\d\d+) of 200 · training"))
    expect(explorer.button("start")).to_be_disabled()
    explorer.press_button("stop")
    explorer.wait("stopped after epoch")
    assert 3 <= int(re.search(r"epoch (\d+) of 200", explorer.summary.text_content()).group(1)) < 200
    explorer.picture(artefacts / "training_stopped.png")
    explorer.press("epochs", "Home", "ArrowRight")
    explorer.press_button("start")
    explorer.wait("epoch 2 of 2 · done")
    expect(explorer.button("stop")).to_be_disabled()
    assert lab.complaints_of(explorer.page) == []


@only("training")
def test_a_run_takes_what_the_controls_show(explorer, lab):
    """Pressed right after a move: at a kernel that is still busy with the move before it."""
    explorer.press("epochs", "End")
    explorer.wait_call("epochs=200, seed=")
    with busy_kernel(lab):
        explorer.press("epochs", "Home", "ArrowRight", "ArrowRight")
        explorer.press("seed", "Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")
        explorer.press_button("start")
        assert (explorer.readout("epochs"), explorer.readout("seed")) == ("3", "4")
    explorer.wait("epoch 3 of 3 · done")
    explorer.wait_call("epochs=3, seed=4)")
    assert (explorer.readout("epochs"), explorer.readout("seed")) == ("3", "4")
    assert lab.complaints_of(explorer.page) == []


@only("training")
def test_a_run_after_a_reset_takes_what_the_reset_brings(explorer, lab):
    """The controls show at once where a reset leads, though the kernel still answers for a move before it."""
    explorer.press("epochs", "Home")
    explorer.wait_call("epochs=1, ")
    explorer.press_button("reset")
    explorer.wait_call("epochs=200, seed=0)")
    with busy_kernel(lab):
        explorer.press("epochs", "Home", "ArrowRight", "ArrowRight")
        explorer.press_button("reset")
        assert explorer.readout("epochs") == "200"
        explorer.press_button("start")
    explorer.wait("of 200 · training")
    explorer.press_button("stop")
    explorer.wait("stopped after epoch")
    explorer.wait_call("epochs=200, seed=0)")
    assert explorer.readout("epochs") == "200"
    assert lab.complaints_of(explorer.page) == []
