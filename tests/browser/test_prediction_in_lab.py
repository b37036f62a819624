"""A prediction in a real JupyterLab: locked, committed, drawn, kept, and found again when the cell is run once more."""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """\
import lliptools as ll

asked = {"the factor": ll.teach.Number(0, 2, panel=3, x=3), "it is": ("above 1", "below 1")}
ll.teach.Prediction(ll.teach.NormExplorer(iteration=1), "02", asked, covers=[2])"""


def test_it_is_locked_then_drawn_and_kept(lab, artefacts):
    (lab.root / "predictions.json").unlink(missing_ok=True)  # of a run that failed
    page = lab.open("prediction.ipynb", [CELL])
    lab.run(page, 0)
    page.wait_for_selector(".ll-explorer .js-plotly-plot", timeout=60_000)
    handle = page.locator(".ll-explorer .noUi-target").first
    expect(handle).to_have_attribute("disabled", "true")
    cover = page.locator(".ll-explorer .annotation", has_text="predict first")
    expect(cover).to_have_count(1)
    page.get_by_role("button", name="commit").click()
    expect(page.get_by_text("still wants")).to_be_visible()
    page.get_by_placeholder("0 to 2").fill("0.9")
    page.get_by_role("button", name="below 1").click()
    page.get_by_role("button", name="commit").click()
    expect(page.get_by_text("You predicted")).to_be_visible()
    expect(page.locator(".ll-explorer .annotation", has_text="◆")).to_have_count(1)
    expect(cover).to_have_count(0)
    boxes = page.locator(".ll-explorer .annotation rect.bg").evaluate_all(
        "all => all.map((each) => each.getBBox().width)"
    )
    assert max(boxes) < 1000  # no cover is left over a panel
    expect(handle).not_to_have_attribute("disabled", "true")
    page.locator(".ll-explorer").screenshot(path=artefacts / "prediction.png")
    kept = json.loads((lab.root / "predictions.json").read_text(encoding="utf-8"))
    assert kept["02"]["answers"] == {"the factor": 0.9, "it is": "below 1"}
    lab.run(page, 0)
    expect(page.get_by_text("You predicted")).to_be_visible()
    expect(page.get_by_role("button", name="commit")).to_be_hidden()
    assert lab.complaints_of(page) == []
    page.close()
