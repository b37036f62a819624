"""The lattice without a browser: every theorem against numbers, every missing one refuted, and what is drawn."""

from dataclasses import replace
from functools import cache
from math import nan

import plotly.graph_objects as go
import pytest
import torch
from networks import NETWORKS, RADII, VARIED, points, random_mlp
from pictures import differences

import lliptools as ll
from lliptools.teach.explorers.lattice.figure import lattice
from lliptools.teach.explorers.lattice.view import LatticeRow, LatticeView, rungs
from lliptools.teach.explorers.lattice.widget import LatticeExplorer

EPS = torch.tensor(RADII).double()
UPPER = ("global", "local", "path", "merged", "tightest")


def theorem_holds(view, smaller, larger, index):
    """Whether two values at radii[index] agree with smaller <= larger; so does what was not computed."""
    one, other = view.value(smaller, index), view.value(larger, index)
    return one != one or other != other or one <= other * (1 + 1e-6)


RUNGS = rungs()


def view_of(net, x, y, radii, names=tuple(RUNGS)):
    rows = {name: LatticeRow(net, x, y, RUNGS[name], one_by_one=name == "exact") for name in names}
    for row in rows.values():
        row.extend(radii)
    return LatticeView(y, radii, tuple(RUNGS), rows)


@cache
def view(name, point=0):
    net = NETWORKS[name]()
    return view_of(net, points(net, 2)[point], 0, EPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIED)
def test_no_theorem_is_false(name):
    """Every solid line, and all that follows from them, on every network, point and radius."""
    for point in (0, 1):
        drawn = view(name, point)
        for index in range(len(EPS)):
            for smaller, larger in drawn.theorems(index):
                assert theorem_holds(drawn, smaller, larger, index), (smaller, larger, RADII[index])
            assert drawn.edges(index)[0] <= drawn.theorems(index)


@pytest.mark.slow
def test_what_is_no_theorem_is_false_somewhere():
    """Between upper bounds that no line joins, each is the larger one on some network."""
    seen = set()
    for name in NETWORKS:
        drawn = view(name)
        for a in UPPER:
            for b in UPPER:
                if any(drawn.value(a, k) > 1.001 * drawn.value(b, k) for k in range(len(EPS))):
                    seen.add((a, b))
    always = view("relu").theorems(3)
    for a in UPPER:
        for b in UPPER:
            if a != b and (a, b) not in always:
                assert (a, b) in seen, f"{a} <= {b} was never refuted"


def test_the_tightest_is_above_the_multipliers_that_it_could_not_afford():
    """Three hundred unstable units: no theorem puts tightest below merged there, and it is not."""
    drawn = view_of(random_mlp(4, 300, 3), torch.zeros(4).double(), 0, torch.tensor([1e-3, 1e3]).double(), UPPER)
    assert drawn.value("tightest", 1) > 1.5 * drawn.value("merged", 1)
    assert ("tightest", "merged") not in drawn.edges(1)[0]
    assert ("exact", "merged") in drawn.edges(1)[0]
    assert ("tightest", "merged") in drawn.edges(0)[0]
    assert ("exact", "merged") not in drawn.edges(0)[0]


@pytest.mark.slow
def test_dashed_lines_hold_at_every_radius_and_are_no_theorems():
    for name in NETWORKS:
        drawn = view(name)
        for index in range(len(EPS)):
            solid, dashed = drawn.edges(index)
            assert not solid & dashed
            for a, b in dashed:
                assert all(theorem_holds(drawn, a, b, k) for k in range(len(EPS)))
                assert (a, b) not in drawn.theorems(index)
                assert (b, a) not in drawn.theorems(index)


def test_view_agrees_with_the_engine():
    net, data = ll.nets.load("moons"), ll.training.moons()
    x, y, radii = data.x_test[3], int(data.y_test[3]), torch.tensor([0.0, 0.05, 0.2]).double()
    drawn = view_of(net, x, y, radii)
    for k, eps in enumerate(radii.tolist()):
        for name in (*UPPER, "exact"):
            assert drawn.value(name, k) == pytest.approx(ll.BOUNDS[name](net, x[None], eps).value.item(), rel=1e-6)
            holds = ll.certify(net, x[None], torch.tensor([y]), eps, bound=ll.BOUNDS[name]).holds.item()
            assert drawn.certifies(name, k) == holds
    assert not any(drawn.certifies("sampled", k) for k in range(3))


def test_fold():
    """Truth 1; local and merged 1 below ε = .5, and 2^k above it."""
    explorer = LatticeExplorer(
        ll.nets.fold(3, 2).double(), torch.tensor([[1.0, -2.0, 0.5]]).double(), torch.tensor([1]), eps_max=1.0, eps=0.45
    )
    assert "local ≤ 1 ·" in explorer.summary
    assert "global ≤ 4 ·" in explorer.summary
    explorer.eps.value = 0.55
    for said in ("local ≤ 4 ·", "merged ≤ 4 ·", "exact 1 ·", "sampled ≥ 1"):
        assert said in explorer.summary
    assert explorer.children[1] is explorer.screen  # one point: nothing to pick


def test_printed_numbers_err_the_safe_way():
    drawn = view("relu")
    for index in range(len(EPS)):
        for name in (*UPPER, "sampled"):
            shown, value = float(drawn.written(name, index)[2:]), drawn.value(name, index)
            assert (shown <= value * (1 + 1e-11)) if name == "sampled" else (shown >= value * (1 - 1e-11))


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIED)
def test_extremes_draw(name):
    """Every supported network from ε = 0 to huge, also where the exact search refuses or does not know the layers."""
    drawn = view(name)
    for index in (0, 3, len(EPS) - 1):
        figure = lattice(drawn, index, {"local": 0.001, "exact": nan})
        assert len(figure.data) == len(lattice(drawn, 0, {}).data)
        assert "nan" not in "".join(drawn.summary(index))
    if "tanh" in name:
        assert drawn.note("exact", 0) == "not for these layers"


@pytest.fixture(scope="module")
def digits():
    data = ll.training.digits()
    return ll.nets.load("digits-clipped"), data.x_test, data.y_test


@pytest.mark.slow
def test_controls_change_figure_and_text(digits):
    explorer = LatticeExplorer(*digits, index=3, eps=0.05, eps_max=0.2)
    text, figure = explorer.summary, go.Figure(explorer.figure)
    upper = sum(row.kind == "upper" for row in explorer.view.rows.values())  # a sampled one certifies nothing
    assert f" of {upper} upper bounds certify the label." in text
    assert "not computed yet" not in text
    explorer.eps.value = 0.1
    assert "ε = 0.1 ·" in explorer.summary
    explorer.point.value = 4
    assert f"label {digits[2][4]}" in explorer.summary
    again = eval(explorer.reproduce(), {"ll": ll, "net": digits[0], "x": digits[1], "y": digits[2]})
    assert again.summary == explorer.summary
    explorer.reset.click()
    assert explorer.summary == text
    assert not differences(explorer.figure, figure)


def test_a_bound_of_ones_own_is_placed_and_a_false_one_refuted(digits, monkeypatch):
    def loose(net, x, eps):
        found = ll.local_bound(net, x, eps)
        return replace(found, value=2 * found.value)

    def false(net, x, eps):
        found = ll.local_bound(net, x, eps)
        return replace(found, value=0.1 * found.value, blocks=found.blocks)

    def guess(net, x, eps):
        return replace(ll.local_bound(net, x, eps), kind="estimate")

    net, x, y = digits
    for name, bound in {"loose": loose, "false": false, "guess": guess}.items():
        monkeypatch.setitem(ll.BOUNDS, name, bound)
    explorer = LatticeExplorer(net, x[:4], y[:4], eps=0.05, eps_max=0.2)
    drawn, index = explorer.view, 5
    assert ("local", "loose") in drawn.edges(index)[1]
    assert not any("loose" in pair for pair in drawn.edges(index)[0])
    assert drawn.refuted("false", index)
    assert not any(drawn.certifies("false", k) for k in range(21))
    assert not any(drawn.certifies("guess", k) for k in range(21))
    assert "refuted by a slope that was found: false" in explorer.summary
    assert any("✘ refuted" in annotation.text for annotation in explorer.figure.layout.annotations)
    assert "about" in drawn.written("guess", index)


def test_a_dead_network_and_a_wrong_point(digits):
    dead = ll.nets.mlp(3, 4, 2).double()
    for parameter in dead.parameters():
        parameter.data.zero_()
    explorer = LatticeExplorer(dead, torch.zeros(1, 3).double(), torch.tensor([0]))
    assert explorer.view.edges(5)[1] == set()  # all are 0: nothing is below anything
    assert "not certified by any" in explorer.summary  # a tie
    net, x, y = digits
    wrong = int((net(x).argmax(dim=1) != y).nonzero()[0, 0])
    explorer = LatticeExplorer(net, x[wrong : wrong + 1], y[wrong : wrong + 1], eps=0.0, eps_max=0.1)
    assert "not certified by any" in explorer.summary


def test_bad_input_is_refused(digits):
    net, x, y = digits
    for start in ({"eps": -1.0}, {"eps": nan}, {"index": 360}, {"eps_max": 0.0}):
        with pytest.raises(ll.InvalidInput, match=f"{next(iter(start))} from"):
            LatticeExplorer(net, x, y, **{"eps_max": 0.4, **start})
    with pytest.raises(ll.InvalidInput, match="y as an integer"):
        LatticeExplorer(net, x, y[:3])
    with pytest.raises(ll.InvalidInput, match="classes 0 to 9"):
        LatticeExplorer(net, x, y + 5)
    with pytest.raises(ll.InvalidInput):
        LatticeExplorer(net, torch.full_like(x, nan), y)


def test_large_layers_are_not_waited_for():
    """A convolution merged as a matrix, or searched branch by branch, would hold up the kernel for minutes."""
    net, x = ll.nets.cnn("2C1F", (1, 28, 28)).double(), torch.rand(1, 28, 28).double()
    view = view_of(net, x, 0, EPS[:2], ("local", "path", "merged", "exact"))
    for name in ("path", "merged", "exact"):
        assert view.note(name, 0) == "not affordable"
        assert not view.certifies(name, 0)
    assert view.value("local", 1) > 0
