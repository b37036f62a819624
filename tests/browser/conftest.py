import os
from pathlib import Path

import pytest
from browser import chromium, open_browser
from lab import running_lab

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
