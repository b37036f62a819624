import os

import pytest
import torch
from hypothesis import settings

pytest_plugins = ("reruns",)
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
# The networks of the tests are small: threads would gain nothing, and lose much where the cores are shared.
torch.set_num_threads(1)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)
