"""The plane of scales without a browser: known numbers, what is feasible, what the sliders change, what is refused."""

from math import inf, log, nan

import plotly.graph_objects as go
import pytest
import torch
from pictures import differences

import lliptools as ll
from lliptools.layers.condition import gershgorin_scale, slack
from lliptools.teach.explorers.condition.figure import condition
from lliptools.teach.explorers.condition.view import ConditionView
from lliptools.teach.explorers.condition.widget import MATRICES, ConditionExplorer

W = torch.tensor([[1.0, 0.6], [0.2, 0.9]]).double()
ZERO = torch.zeros(2).double()


def texts(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def test_known_numbers():
    view = ConditionView(W, ZERO)
    torch.testing.assert_close(view.scales["AOL"], torch.tensor([1.82, 1.95]).double())
    assert view.scales["spectral"].tolist() == pytest.approx([1.8877, 1.8877], abs=1e-4)
    assert view.section.corner == pytest.approx((1.04, 1.17))
    assert view.section.overlap == pytest.approx(0.78)


@pytest.mark.parametrize("log_q", [-3.0, -1.0, 0.0, 0.5, 3.0])
def test_every_scale_of_two_columns_lies_on_the_hyperbola(log_q):
    view = ConditionView(W, torch.tensor([0.0, log_q]))
    torch.testing.assert_close(view.scales["SLL"], gershgorin_scale(W, torch.tensor([0.0, log_q]).double().exp()))
    for name, T in view.scales.items():
        i, j = T.tolist()
        away = (i - view.section.corner[0]) * (j - view.section.corner[1])
        assert away == pytest.approx(view.section.overlap**2, rel=1e-9), name
        assert view.singular[name][0] == pytest.approx(1.0, abs=1e-9)
        assert view.holds(name)


@pytest.mark.parametrize("name", MATRICES)
def test_the_region_that_is_drawn_is_the_feasible_one(name):
    """Above the drawn curve the condition holds, below it does not: the other scales stay as they are."""
    matrix = MATRICES[name]
    log_q = torch.linspace(-1, 1, matrix.shape[1]).double()
    view = ConditionView(matrix, log_q)
    for i, j in zip(*view.section.boundary(-2, 2, 9), strict=True):
        for factor in (0.99, 1.01):
            T = view.scales["SLL"].clone()
            T[0] = view.section.corner[0] + factor * (i - view.section.corner[0]) + (factor - 1) * 1e-3
            T[1] = view.section.corner[1] + factor * (j - view.section.corner[1]) + (factor - 1) * 1e-3
            assert (slack(matrix, T) >= -1e-12) == (factor > 1)


@pytest.mark.parametrize("name", MATRICES)
def test_discs_contain_the_eigenvalues_and_touch_zero(name):
    matrix = MATRICES[name]
    view = ConditionView(matrix, torch.linspace(-2, 2, matrix.shape[1]).double())
    torch.testing.assert_close(view.radii, view.scales["SLL"] - (matrix.T @ matrix).diagonal())
    distance = (view.eigenvalues[:, None] - view.radii).abs()
    assert (distance <= view.radii + 1e-9).any(dim=1).all()
    assert (view.eigenvalues >= -1e-9).all()
    for values in view.singular.values():
        assert values.max() <= 1 + 1e-9


def test_a_column_of_zeros_has_its_disc_where_its_eigenvalue_is():
    view = ConditionView(torch.tensor([[1.0, 0.0], [1.0, 0.0]]).double())
    assert view.centres.tolist() == [0, 1]
    marks = [trace.x for trace in condition(view, (3, 3, 3)).data if "centre" in str(trace.hovertemplate)]
    assert {float(at) for some in marks for at in some} == {0.0, 1.0}
    assert "least: AOL and SLL." in view.summary()[0]


def test_extremes():
    """Columns of zeros, tiny and huge numbers, equal columns, more columns than rows, float32."""
    for matrix in (
        torch.zeros(3, 2),
        torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
        torch.ones(2, 2).double() * 1e-60,
        torch.ones(2, 3).double() * 1e60,
        torch.randn(1, 12),
    ):
        for q in (-5.0, 0.0, 5.0):
            log_q = torch.zeros(matrix.shape[1])
            log_q[1] = q
            view = ConditionView(matrix, log_q)
            assert all(view.holds(name) for name in view.scales)
            assert all(values.max() <= 1 + 1e-6 for values in view.singular.values())
            assert "nan" not in "".join(view.summary())
            condition(view, (1.0, 1.0, 1.0))


def test_sliders_change_figure_and_text():
    explorer = ConditionExplorer(matrix="1  .6 | .2  .9")
    before, text = go.Figure(explorer.figure), explorer.summary

    def sll():
        return next(trace for trace in explorer.figure.data if trace.name == "SLL")

    assert (sll().x[0], sll().y[0]) == pytest.approx((1.82, 1.95))
    explorer.log_q.value = 1.0
    assert (sll().x[0], sll().y[0]) == pytest.approx((1.04 + 0.78 * 2, 1.17 + 0.78 / 2))
    assert "q₂/q₁ = 2 ·" in explorer.summary
    explorer.matrix.value = "eight columns"
    assert "columns 1 and 2 of 8" in explorer.summary
    assert sum(text.startswith("<b>scales 1 and 2") for text in texts(explorer.figure)) == 1
    explorer.reset.click()
    assert explorer.summary == text
    assert not differences(explorer.figure, before)


def test_the_point_stays_in_the_plane():
    explorer = ConditionExplorer()
    for name in MATRICES:
        for ratio in (-2.0, 0.0, 2.0):
            explorer.matrix.value, explorer.log_q.value = name, ratio
            for k, axis in enumerate((explorer.figure.layout.xaxis, explorer.figure.layout.yaxis)):
                assert explorer.view.scales["SLL"][k] <= axis.range[1]


def test_call_reproduces_the_view():
    explorer = ConditionExplorer(q=0.5, matrix="nearly the same twice")
    explorer.log_q.value = 0.75
    again = eval(explorer.reproduce(), {"ll": ll})
    assert again.summary == explorer.summary
    mine = ConditionExplorer(torch.randn(5, 4), source="mine")
    mine.log_q.value = -1.0
    again = eval(mine.reproduce(), {"ll": ll, "mine": mine._matrices["mine"]})
    assert (again.reproduce(), again.summary) == (mine.reproduce(), mine.summary)
    assert mine.view.log_q.tolist() == pytest.approx([0.0, -log(2), 0.0, 0.0])
    assert mine.children[1] is mine.screen  # one matrix: nothing to pick


@pytest.mark.parametrize(
    "matrix",
    [torch.ones(2, 1), torch.ones(2), torch.ones(2, 2).long(), torch.full((2, 2), nan), torch.ones(2, 65), [[1.0]]],
)
def test_bad_matrices_are_refused(matrix):
    with pytest.raises(ll.InvalidInput, match="W as a matrix"):
        ConditionExplorer(matrix)


def test_bad_starts_are_refused():
    for start in ({"q": 0.0}, {"q": inf}, {"q": nan}):
        with pytest.raises(ll.InvalidInput, match="q from"):
            ConditionExplorer(W, **start)
    with pytest.raises(ll.InvalidInput, match="matrix as one of"):
        ConditionExplorer(matrix="none of them")
    with pytest.raises(ll.InvalidInput, match="log_q as 2 finite"):
        ConditionView(W, torch.zeros(3))
