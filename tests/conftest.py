import os

import pytest
import torch
from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
# The networks of the tests are small: threads would gain nothing, and lose much where the cores are shared.
torch.set_num_threads(1)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """Where several processes share the tests, each file stays whole, and all that opens a browser stays together."""
    for item in items:
        room = "browser" if item.get_closest_marker("browser") else item.path.name
        item.add_marker(pytest.mark.xdist_group(room))
