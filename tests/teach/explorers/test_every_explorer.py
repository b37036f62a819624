"""What every explorer keeps to: its call opens the same view, reset goes back, and no hand needs a mouse."""

from functools import cache

import ipywidgets
import plotly.graph_objects as go
import pytest
import said
import torch
from pictures import differences

import lliptools as ll
from lliptools.teach import explorers
from lliptools.teach.explorers.accuracy.widget import AccuracyExplorer
from lliptools.teach.explorers.clipping.widget import ClipExplorer
from lliptools.teach.explorers.condition.widget import ConditionExplorer
from lliptools.teach.explorers.lattice import view as lattice_module
from lliptools.teach.explorers.lattice.widget import LatticeExplorer
from lliptools.teach.explorers.margins.widget import MarginExplorer
from lliptools.teach.explorers.neurons.widget import NeuronExplorer
from lliptools.teach.explorers.training.widget import TrainingExplorer
from lliptools.teach.shared.button import Button
from lliptools.teach.shared.controls import state

pytestmark = pytest.mark.slow

# name: how it is made, and where its controls are moved to.
EXPLORERS = {
    "units": ("UnitExplorer(net, x, y, eps_max=1/3)", {"eps": 0.1, "point": 4}),
    "neurons": ("NeuronExplorer(net, x, y, eps_max=1/3)", {"eps": 0.1, "point": 4, "theta_scale": 2**-0.75}),
    "neurons of a plane": ("NeuronExplorer(plane, flat, labels, index=7, source='plane, flat, labels')", {"point": 2}),
    "margins": (
        "MarginExplorer(plane, flat, labels, index=7, source='plane, flat, labels')",
        {"x0": 0.1, "x1": 0.9, "label": 1, "L": 2**4.125, "bound": "assumed"},
    ),
    "margins of an image": ("MarginExplorer(net, x, y)", {"point": 3, "bound": "local"}),
    "norms": ("NormExplorer()", {"ratio": 0.43, "angle": 17, "iteration": 3}),
    "norms of a matrix": ("NormExplorer(W, seed=3)", {"start": 2, "iteration": 7}),
    "products": ("ProductExplorer(plane, flat, index=2, eps=1/7, source='plane, flat')", {"depth": 1}),
    "clipping": (
        "ClipExplorer(nets, x, y, eps_max=0.7, source='nets, x, y')",
        {"network": "b", "theta_scale": 2**-0.5, "eps": 0.14, "point": 1},
    ),
    "accuracies": ("AccuracyExplorer(nets, x, y, eps_max=1/3)", {"eps": 0.1, "net": "b", "method": "global"}),
    "scales": ("ConditionExplorer()", {"log_q": 0.75, "matrix": "eight columns"}),
    "scales of a matrix": ("ConditionExplorer(W)", {"log_q": -1.25}),
    "lattice": ("LatticeExplorer(fold, points, ones, source='fold, points, ones')", {"eps": 0.4, "point": 1}),
    "training": ("TrainingExplorer('moons')", {"epochs": 7, "seed": 3}),
}


@cache
def scope():
    digits, moons = ll.training.digits(), ll.training.moons()
    net, generator = ll.nets.load("digits-clipped"), torch.Generator().manual_seed(0)
    return {
        "ll": ll,
        "net": net,
        "x": digits.x_test[:12],
        "y": digits.y_test[:12],
        "plane": ll.nets.load("moons"),
        "flat": moons.x_test[:40],
        "labels": moons.y_test[:40],
        "nets": {"a": ll.nets.load("digits-relu"), "b": net},
        "W": torch.randn(6, 5, generator=generator).double(),
        "fold": ll.nets.fold(3, 2).double(),
        "points": torch.tensor([[1.0, -2.0, 0.5], [2.0, 2.0, 2.0]]).double(),
        "ones": torch.tensor([1, 1]),
    }


@pytest.fixture(scope="module", params=EXPLORERS)
def made(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lattice_module, "perf_counter", lambda: 0.0)  # what something costs is never twice the same
        made = eval(f"ll.teach.{EXPLORERS[request.param][0]}", scope())
        made.moves = EXPLORERS[request.param][1]
        yield made


@pytest.fixture
def explorer(made):
    """The explorer as it starts."""
    made.reset.click()
    return made


def move(explorer):
    with explorer.held():
        for name, value in explorer.moves.items():
            explorer.controls[name].value = value


def test_its_call_opens_the_same_view_and_reset_goes_back(explorer):
    figure, words, call = go.Figure(explorer.figure), explorer.summary, explorer.call.value
    move(explorer)
    assert explorer.call.value != call
    again = eval(explorer.reproduce(), scope())
    assert not differences(again.figure, explorer.figure)
    assert (again.summary, again.reproduce()) == (explorer.summary, explorer.reproduce())
    explorer.reset.click()
    assert not differences(explorer.figure, figure)
    assert (explorer.summary, explorer.call.value) == (words, call)


def parts(widget):
    """A widget and all that it is made of."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from parts(child)


def test_every_button_acts_on_what_the_browser_shows(explorer):
    """The press is there before what the controls have said, or after: the kernel brings them to what it carries."""
    buttons = [part for part in parts(explorer) if "Button" in type(part).__name__]
    pressed = [button for button in buttons if button not in explorer.controls.values()]
    assert explorer.reset in pressed
    for button in pressed:
        assert isinstance(button, Button)
        assert button.controls == [*explorer.controls.values()]
    move(explorer)
    there, figure = [state(control) for control in explorer.controls.values()], go.Figure(explorer.figure)
    words, call = explorer.summary, explorer.call.value
    explorer.reset.click()
    assert explorer.call.value != call
    said.press(explorer.reset, there)
    assert not differences(explorer.figure, figure)
    assert (explorer.summary, explorer.call.value) == (words, call)


def test_what_was_said_before_a_press_is_dropped_after_it(explorer):
    """The kernel answers messages of different widgets in different threads."""
    start = [state(control) for control in explorer.controls.values()]
    move(explorer)
    moved = [state(control) for control in explorer.controls.values()]
    words, call = explorer.summary, explorer.call.value
    said.press(explorer.reset, moved, second=2)
    for control, old in zip(explorer.controls.values(), start, strict=True):
        said.move(control, old, second=1)
    assert [state(control) for control in explorer.controls.values()] == moved
    assert (explorer.summary, explorer.call.value) == (words, call)
    for page, second in (("a page", 3), ("a page of a machine whose clock is behind", 1)):
        for control, one, other in zip(explorer.controls.values(), start, moved, strict=True):
            for new in (one, other):
                said.move(control, new, second=second, page=page)
                assert state(control) == new


def test_every_control_says_what_it_does_and_moves_by_the_keyboard(explorer):
    # JupyterLab keeps the arrow keys from a list that drops down.
    for control in explorer.controls.values():
        assert control.description
        assert control.tooltip
        assert type(control).__name__.endswith("Slider") or isinstance(control, ipywidgets.ToggleButtons)
    assert explorer.reset.tooltip


def test_every_picture_has_the_same_traces_and_texts(explorer):
    """A widget that has more or fewer of them than its next picture cannot be brought there."""
    before = go.Figure(explorer.figure)
    move(explorer)
    after = explorer._figure(coarse=explorer.slow)
    assert [trace.type for trace in before.data] == [trace.type for trace in after.data]
    assert len(before.layout.annotations) == len(after.layout.annotations)


def test_a_control_with_one_place_is_not_shown():
    """The browser cannot draw a slider from 0 to 0, or over one name."""
    x, y = scope()["x"][:1], scope()["y"][:1]
    for made, hidden in (
        (NeuronExplorer(scope()["net"], x, y), ("point", "first")),
        (MarginExplorer(scope()["net"], x, y), ("point",)),
        (AccuracyExplorer({"a": scope()["net"]}, x, y), ("net",)),
        (ClipExplorer(scope()["net"], x, y), ("network", "point", "first")),
        (LatticeExplorer(scope()["fold"], scope()["points"][:1], scope()["ones"][:1]), ("point",)),
        (TrainingExplorer(ll.training.recipe("moons")), ()),
        (ConditionExplorer(scope()["W"]), ("matrix",)),
    ):
        shown = [control for row in made.children if isinstance(row, ipywidgets.Box) for control in row.children]
        assert {name for name, control in made.controls.items() if control not in shown} == set(hidden)


def test_every_explorer_is_here():
    made = {code.split("(")[0] for code, _ in EXPLORERS.values()}
    assert made == {name for name in explorers.__all__ if name.endswith("Explorer")}
