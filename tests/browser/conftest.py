import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import chromium, open_browser
from filelock import FileLock
from lab import running_lab
from walks import notebook, opened

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def browser():
    """The one browser of all tests; where there is none they are skipped, and fail where they have to run."""
    if chromium() is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with open_browser() as running:
        yield running


@pytest.fixture(scope="session")
def site(tmp_path_factory, testrun_uid):
    """The one site of all tests, of several processes too; the gallery is a part of it."""
    folder = tmp_path_factory.getbasetemp().parent / f"site-{testrun_uid}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "index.html").exists():
            subprocess.run([sys.executable, ROOT / "tools" / "build_site.py", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    """The one JupyterLab of all tests."""
    with running_lab(browser, tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def artefacts():
    """Where screenshots and timings are kept for a person to look at."""
    folder = ROOT / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def explorers_page(request, lab):
    """A page with a notebook of every explorer."""
    page = lab.open(f"{request.module.__name__}.ipynb", notebook())
    lab.run(page, 0)
    yield page
    page.close()


@pytest.fixture(scope="module")
def explorer(request, lab, explorers_page):
    """The explorer whose name is the parameter."""
    return opened(lab, explorers_page, request.param)


@pytest.fixture
def anew(request, lab, explorer):
    """A test that is run once more finds the explorer as it starts, not as the failure left it."""
    if getattr(request.node, "execution_count", 1) > 1:
        opened(lab, explorer.page, explorer.name)
