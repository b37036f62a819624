import os
from pathlib import Path

import pytest
from browser import chromium
from lab import running_lab

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    if chromium() is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running_lab(ROOT / "notebooks", tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def artefacts():
    """Where screenshots are kept for a person to look at."""
    folder = ROOT / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder
