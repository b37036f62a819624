import pytest
import torch
from hypothesis import settings

pytest_plugins = ("reruns",)
# No deadline and the same examples each time: nothing fails because a machine is busy, or by chance.
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")
# The networks of the tests are small: threads would gain nothing, and lose much where the cores are shared.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.default_generator.manual_seed(0)


def pytest_collection_modifyitems(items):
    """Slow tests first: where files are shared out to processes in this order, what comes last is short."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
