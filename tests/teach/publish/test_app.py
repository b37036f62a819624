"""The page of all explorers: a tab each, made when it is first looked at."""

from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.publish.app import page


def test_an_explorer_is_made_when_its_tab_is_looked_at():
    _, tabs = page().children
    assert list(tabs.titles) == [example.title for example in EXAMPLES.values()]
    assert [len(tab.children) for tab in tabs.children] == [2] + [0] * (len(EXAMPLES) - 1)
    number = list(EXAMPLES).index("condition")
    tabs.selected_index = number
    question, explorer = tabs.children[number].children
    assert EXAMPLES["condition"].question in question.value
    assert explorer.controls[EXAMPLES["condition"].control]
    tabs.selected_index = 0
    tabs.selected_index = number
    assert tabs.children[number].children[1] is explorer
    assert sum(bool(tab.children) for tab in tabs.children) == 2
