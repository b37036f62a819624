"""What is used of other packages beyond what they promise, as of the versions that are named here."""

import ipywidgets


def test_the_one_private_method_of_ipywidgets_is_as_in_8_1():
    """shared.button.Order hands messages on in the order in which they were sent."""
    assert ipywidgets.__version__.startswith("8.1"), "does Widget._handle_msg still take a message?"
    assert callable(ipywidgets.Widget._handle_msg)
