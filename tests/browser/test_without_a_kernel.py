"""What stays of an explorer: in a notebook that is opened again, after a restart, and on a page made by nbconvert."""

import json
import urllib.request

import pytest
from explorers import Explorer
from lab import KEPT, READY, TOKEN
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
RESTART = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
CELL = """
import lliptools as ll
norms = ll.teach.NormExplorer(iteration=5).pack()
norms.add_class("norms")
norms
"""
MARGINS = """
from lliptools.teach.explorers import EXAMPLES
margins = EXAMPLES["margins"].make()
margins.add_class("margins")
margins
"""
PACKED = """
packed = EXAMPLES["margins"].make().pack()
packed.add_class("packed")
packed
"""


@pytest.fixture(scope="module")
def page(lab):
    page = lab.open("yesterday.ipynb", [CELL, MARGINS, PACKED])
    for cell in (0, 1, 2):
        lab.run(page, cell)
    yield page
    page.close()


def end_kernels(lab):
    address = f"http://127.0.0.1:{lab.port}/api/sessions"
    for session in json.loads(urllib.request.urlopen(f"{address}?token={TOKEN}").read()):
        gone = urllib.request.Request(f"{address}/{session['id']}?token={TOKEN}", method="DELETE")
        urllib.request.urlopen(gone)


def test_the_notebook_of_yesterday(lab, page, artefacts):
    norms = Explorer(page, "norms")
    norms.wait("Iteration 5:")
    expect(page.locator(".margins .ll-verdict")).to_contain_text("class 0")
    assert len(lab.save(page, "yesterday.ipynb", pictures=3).encode()) < 3 * 60_000
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    assert lab.complaints_of(page) == []  # the pictures of the packed one are there before its page is open
    page.evaluate(RESTART)
    expect(page.locator(".margins.jupyter-widgets-disconnected")).to_have_count(1)
    # What is packed moves without a kernel; what is not says how it is moved again.
    norms.press("iteration", "ArrowRight")
    norms.wait("Iteration 6:")
    margins = Explorer(page, "packed")  # whose coordinates the view of a slider rounds
    margins.press("assumed", "End")
    margins.wait("by an assumed L = 16")
    margins.press("assumed", "Home")
    margins.wait("by an assumed L = 0.125")
    assert margins.readout("assumed") == "0.125"
    lines = "element => getComputedStyle(element, '::before').content"
    assert "run the cell" in page.locator(".margins").evaluate(lines)
    assert "first slider" in page.locator(".norms").evaluate(lines)
    end_kernels(lab)
    again = lab.browser.new_page(viewport={"width": 1280, "height": 800})
    again.goto(f"http://127.0.0.1:{lab.port}/lab/tree/yesterday.ipynb?token={TOKEN}&reset")
    again.wait_for_selector(".jp-Notebook")
    again.evaluate(READY)
    expect(again.locator(".ll-kept img")).to_have_count(3)
    expect(again.locator(".ll-kept").first).to_contain_text(KEPT)
    assert again.get_by_text("Error displaying widget").count() == 0
    again.screenshot(path=artefacts / "yesterday.png")
    again.close()
    lab.complaints.clear()  # a kernel that ends complains in other words each time


def test_a_packed_explorer_is_whole_before_it_is_shown():
    import lliptools as ll
    from lliptools.teach.explorers import EXAMPLES

    packed = ll.teach.NormExplorer(iteration=5).pack()
    assert packed.screen.ready
    assert packed.iteration.value == 5
    assert "Iteration 5:" in packed.summary
    margins = EXAMPLES["margins"].make().pack()
    assert margins.screen.ready
    assert len(margins.screen.bundle) < 300_000
    margins.x0.value -= 4e-16  # as the view of its slider brings it there
    assert margins.screen.ready
    margins.x0.value = 0.5  # another control: the kernel's again
    assert not margins.screen.ready
