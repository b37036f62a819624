"""Every explorer in a real JupyterLab, offline: each control by the keyboard, the main slider by a fast drag."""

from itertools import combinations

import pytest
from PIL import ImageChops
from playwright.sync_api import expect
from walks import WALKS, busy_kernel

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("anew"),
    pytest.mark.parametrize("explorer", WALKS, indirect=True),
]
LATE = 3000  # milliseconds that a key press may take on a machine that does other things; a hundred is usual
# Draws the whole picture now, however long that takes on a machine that does other things.
FINISH = """
async (name) => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  await kernel.requestExecute({code: `${name}.finish()`, silent: true}).done;
}
"""


def whole(explorer):
    """All that plotly was told to show, when nothing is left for later."""
    explorer.page.evaluate(FINISH, explorer.name)
    explorer.wait_still()
    return explorer.drawn()


def test_every_control_by_keyboard(explorer, lab):
    walk = WALKS[explorer.name]
    call, start = explorer.call.text_content(), whole(explorer)
    for control, keys, said, called in walk.moves:
        explorer.press(control, *keys)
        explorer.wait(said)
        explorer.wait_call(called)
        if walk.presses:
            explorer.wait_drawn(start, other=True)
        explorer.wait_still()
        explorer.press_button("reset")
        explorer.wait(walk.start)
        expect(explorer.call).to_have_text(call)
        explorer.wait_drawn(start)
    assert lab.complaints_of(explorer.page) == []


def test_a_reset_comes_after_the_moves_before_it(explorer, lab):
    """While the kernel answers for the first value, the browser keeps the second back: it may not undo the reset."""
    walk = WALKS[explorer.name]
    explorer.press_button("reset")
    explorer.wait(walk.start)
    start = whole(explorer)
    call, readout = explorer.call.text_content(), explorer.readout(walk.main)
    with busy_kernel(lab):
        explorer.press(walk.main, "ArrowLeft", "ArrowLeft")
        assert explorer.readout(walk.main) != readout
        for control, keys, *_ in walk.moves:
            explorer.press(control, *keys)
        explorer.press_button("reset")
    explorer.wait_still()
    expect(explorer.call).to_have_text(call)
    assert explorer.readout(walk.main) == readout
    explorer.wait(walk.start)
    explorer.wait_drawn(start)
    assert lab.complaints_of(explorer.page) == []


def test_the_main_slider(explorer, lab, artefacts):
    """To both ends by the keyboard, then shaken by the mouse: at rest it stands where the hand left it."""
    walk = WALKS[explorer.name]
    pictures = [explorer.picture(artefacts / f"{explorer.name}_middle.png")]
    for end, key, said in (("high", "End", walk.ends[1]), ("low", "Home", walk.ends[0])):
        before = explorer.drawn()
        explorer.press(walk.main, key)
        explorer.wait(said)
        if walk.presses:
            explorer.wait_drawn(before, other=True)
        pictures.append(explorer.picture(artefacts / f"{explorer.name}_{end}.png"))
    settled = explorer.drag(walk.main, 0.5)
    explorer.wait_call(walk.called(float(explorer.readout(walk.main))))
    if walk.presses:
        for one, other in combinations(pictures, 2):
            assert ImageChops.difference(one, other).getbbox()
        latency = explorer.latency(walk.main, presses=walk.presses)
        with (artefacts / "latency.txt").open("a") as lines:
            lines.write(f"{explorer.name}: {latency}, settled {settled:.0f} ms after a drag\n")
        assert latency.median < LATE
    assert lab.complaints_of(explorer.page) == []


def test_every_control_is_named_and_nothing_uploads(explorer):
    moved = {WALKS[explorer.name].main, *(control for control, *_ in WALKS[explorer.name].moves)}
    moved |= {"shown"} if explorer.name == "training" else set()  # the epoch of a run, and there is none yet
    for label in explorer.box.locator(".widget-hslider > .widget-label").all():
        assert label.get_attribute("title")
        assert any((label.text_content() or "").startswith(control) for control in moved)
    for button in explorer.box.locator(".widget-button").all():
        assert button.get_attribute("title")
    assert explorer.page.locator("[data-title*='Share'], [data-title*='Cloud']").count() == 0
