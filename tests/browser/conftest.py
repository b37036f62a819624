from pathlib import Path

import pytest
from explorers import missing_chromium
from lab import running_lab

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    missing_chromium()
    with running_lab(ROOT / "notebooks", tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def artefacts():
    """Where screenshots are kept for a person to look at."""
    folder = ROOT / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder
