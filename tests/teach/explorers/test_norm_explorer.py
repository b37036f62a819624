"""The norm explorer without a browser: closed forms, from which side each number errs, and what a slider changes."""

import math

import pytest
import torch

import lliptools as ll
from lliptools.teach.explorers.norms.figure import norms
from lliptools.teach.explorers.norms.view import NormView
from lliptools.teach.explorers.norms.widget import NormExplorer

MATRICES = {
    "square": torch.randn(6, 6, generator=torch.Generator().manual_seed(0)),
    "wide": torch.randn(3, 9, generator=torch.Generator().manual_seed(1)),
    "tall": torch.randn(9, 3, generator=torch.Generator().manual_seed(2)),
    "row": torch.tensor([[1.0, -2.0, 2.0]]),
    "column": torch.tensor([[3.0], [4.0]]),
    "one": torch.tensor([[-2.0]]),
    "zero": torch.zeros(3, 4),
    "tiny": 1e-200 * torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64),
    "huge": 1e200 * torch.randn(4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64),
    "one direction": torch.ones(4, 4),
}


def starts(columns, count=5):
    return torch.randn(count, columns, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def stretching(ratio):
    """The unit circle becomes an ellipse with half-axes 1 and ratio."""
    return torch.diag(torch.tensor([1.0, ratio], dtype=torch.float64))


def titles(figure):
    return [annotation.text for annotation in figure.layout.annotations]


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("degrees", [0, 45, 80])
def test_closed_forms(ratio, degrees):
    phi = math.radians(degrees)
    start = torch.tensor([[math.cos(phi), math.sin(phi)]], dtype=torch.float64)
    view = NormView(stretching(ratio), start, steps=20)
    for k in range(21):
        t = ratio ** (2 * k) * math.tan(phi)
        assert view.power[0, k].item() == pytest.approx(math.sqrt((1 + ratio**2 * t**2) / (1 + t**2)), rel=1e-9)
    for t, value in enumerate(view.gram.tolist()):
        assert value == pytest.approx((1 + ratio**2 ** (t + 1)) ** (0.5 ** (t + 1)), rel=1e-8)


def test_known_gram_values():
    view = NormView(stretching(0.9), starts(2))
    assert [round(value, 4) for value in view.gram[:5].tolist()] == [1.3454, 1.1344, 1.0458, 1.0107, 1.0011]


@pytest.mark.parametrize("name", MATRICES)
def test_from_below_and_from_above(name):
    W = MATRICES[name]
    view = NormView(W, starts(W.shape[1]))
    sigma = ll.spectral_norm(W, "exact").item()
    assert view.norm == sigma
    assert (view.gram >= sigma).all()
    assert (view.power <= sigma * (1 + 1e-12)).all()
    assert (view.lanczos <= sigma * (1 + 1e-12)).all()
    assert (view.power[:, 1:] >= view.power[:, :-1] * (1 - 1e-12)).all()
    assert (view.gram[1:] <= view.gram[:-1] * (1 + 1e-8)).all()
    # Whatever power iteration has seen, Lanczos has seen with it.
    assert (view.lanczos[:, 1:] >= view.power[:, 1:-1] * (1 - 1e-9)).all()
    for t in (1, 5):
        assert view.gram[t].item() == pytest.approx(ll.spectral_norm(W, "gram", steps=t).item(), rel=1e-12)
    assert view.power.isfinite().all()
    assert view.lanczos.isfinite().all()
    assert view.before.norm(dim=2).max() <= 1 + 1e-12
    assert view.after.norm(dim=2).max() <= 1 + 1e-9
    if sigma > 0 and W.shape[0] > 1 and W.shape[1] > 1:
        gap = ll.spectral_norm(W, "lanczos", steps=min(W.shape)).item() / sigma
        assert view.lanczos[0, -1].item() / sigma == pytest.approx(gap, rel=1e-9)


@pytest.mark.parametrize("name", MATRICES)
def test_extremes_draw(name):
    W = MATRICES[name]
    view = NormView(W, starts(W.shape[1]))
    drawn = [norms(view, start, step) for start in (0, 4) for step in (0, 1, 40)]
    assert len({len(figure.data) for figure in drawn}) == 1
    assert len({len(figure.layout.annotations) for figure in drawn}) == 1
    for step in (0, 1, 40):
        assert "nan" not in " ".join(view.summary(0, step))


def test_iterates_lie_on_the_circle_and_the_ellipse():
    view = NormView(stretching(0.4), starts(2))
    assert view.before.norm(dim=2).sub(1).abs().max() < 1e-12
    assert (view.after[..., 0] ** 2 + (view.after[..., 1] / 0.4) ** 2).sub(1).abs().max() < 1e-12
    assert view.after.norm(dim=2) == pytest.approx(view.power / view.norm)


def test_what_is_known_lies_in_view():
    """Of a matrix of zeros too, and of a start from which power iteration stays below the norm."""
    for view in (NormView(torch.zeros(2, 2).double(), torch.ones(1, 2).double()), NormExplorer(angle=90).view):
        figure = norms(view, 0, 3)
        low, high = figure.layout.yaxis2.range
        (sigma,) = {*next(trace for trace in figure.data if trace.yaxis == "y2").y}
        assert sigma == (1 if view.norm else 0)
        assert all(low < value < high for value in (sigma, view.power[0, -1].item() / (view.norm or 1.0)))


def test_a_start_at_a_right_angle_never_finds_the_norm():
    for ratio in (0.9, 0.1, 0.0):
        explorer = NormExplorer(ratio=ratio, angle=90, iteration=40)
        assert explorer.view.power[0, -1].item() == pytest.approx(ratio)
        assert explorer.view.lanczos[0, -1].item() == pytest.approx(ratio)
        assert explorer.view.gram[-1] >= 1


def test_theorems_are_solid_and_estimates_dashed():
    named = {trace.name: trace for trace in NormExplorer().figure.data if trace.name}
    assert named["Gram"].line.dash == "solid"
    for name in ("power", "Lanczos"):
        assert named[name].line.dash in ("dash", "dot")
        assert named[name].marker.symbol.endswith("-open")
    assert len({trace.marker.symbol for trace in named.values()}) == 3


def test_sliders_change_figure_and_text():
    explorer = NormExplorer()
    before, text = titles(explorer.figure), explorer.summary
    explorer.iteration.value = 9
    assert "iteration 9" in explorer.summary
    assert list(explorer.figure.data[-1].x) == [9, 9]
    explorer.ratio.value = 0.7
    assert "σ₂/σ = 0.7" in explorer.summary
    explorer.iteration.value, explorer.angle.value = 1, 80
    assert f"power ≥ {explorer.view.power[0, 1]:.4f}"[:-1] in explorer.summary
    explorer.reset.click()
    assert (titles(explorer.figure), explorer.summary) == (before, text)


def test_a_weight_and_its_starts():
    W = ll.nets.load("digits-clipped")[2].weight
    explorer = NormExplorer(W)
    texts = set()
    for start in range(8):
        explorer.start.value = start
        texts.add(explorer.summary)
    assert len(texts) == 8
    assert "128×128 matrix" in explorer.summary
    assert "shadow" in titles(explorer.figure)[0]


def test_bad_input_is_refused():
    for matrix in (torch.ones(2, 2, 3, 3), torch.tensor([[1.0, math.nan]]), torch.ones(2, 2).int(), torch.ones(0, 3)):
        with pytest.raises(ll.InvalidInput, match="a matrix"):
            NormExplorer(matrix)
    with pytest.raises(ll.InvalidInput, match=r"pass layer\.weight"):
        NormExplorer(torch.nn.Linear(2, 2))
    for start in ({"ratio": 1.5}, {"ratio": math.nan}, {"angle": -1}, {"angle": 91}, {"iteration": 41}):
        with pytest.raises(ll.InvalidInput, match=f"{next(iter(start))} from"):
            NormExplorer(**start)
    with pytest.raises(ll.InvalidInput, match="start from 0 to 7"):
        NormExplorer(torch.ones(2, 2), start=8)
    with pytest.raises(ll.InvalidInput, match="no ratio with a matrix"):
        NormExplorer(torch.ones(2, 2), ratio=0.5)
    with pytest.raises(ll.InvalidInput, match="no start without a matrix"):
        NormExplorer(start=2)
    for start in (torch.zeros(1, 2), torch.ones(1, 3), torch.ones(2)):
        with pytest.raises(ll.InvalidInput, match="none of them 0"):
            NormView(torch.ones(2, 2), start)
