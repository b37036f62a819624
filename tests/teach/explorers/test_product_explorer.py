"""The product explorer without a browser: the fold's numbers, what encloses what, and what the slider changes."""

import math

import numpy as np
import pytest
import torch
from networks import NETWORKS, VARIED, points, random_mlp

import lliptools as ll
from lliptools.teach.explorers.products.figure import products
from lliptools.teach.explorers.products.view import ProductView, prefixes
from lliptools.teach.explorers.products.widget import ProductExplorer

DIGITS, MOONS = ll.training.digits(), ll.training.moons()


@pytest.fixture(scope="module")
def folded():
    return ProductView(ll.nets.fold(2, 8), torch.ones(2, dtype=torch.float64), 1.0)


def titles(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def test_fold(folded):
    assert folded.product.tolist() == pytest.approx([2.0**k for k in range(9)])
    assert folded.exact.tolist() == pytest.approx([1.0] * 9)
    assert folded.sampled.tolist() == pytest.approx([1.0] * 9)
    assert folded.whole.all()
    for k in range(9):  # the ball stays what it is, and shrinks only in units of what the product allows
        assert (folded.image[k] * folded.product[k]).norm(dim=1) == pytest.approx(torch.ones(97).double())
    assert "product of norms ≤ 256 · best sampled slope 1, from below · exact on the ball 1" in folded.summary(8)[2]


def test_steps_of_a_network():
    x = torch.ones(1, 2, dtype=torch.float64)
    assert [len(prefix) for prefix in prefixes(ll.nets.fold(2, 3), x)] == [3, 6, 9]
    assert [len(prefix) for prefix in prefixes(random_mlp(2, 5, 4, 3), x)] == [1, 3, 5]
    assert [len(prefix) for prefix in prefixes(random_mlp(2, 3), x)] == [1]
    assert [len(prefix) for prefix in prefixes(torch.nn.Linear(2, 3), x)] == [1]
    ends_in_relu = torch.nn.Sequential(*random_mlp(2, 5, 3), torch.nn.ReLU())
    assert [len(prefix) for prefix in prefixes(ends_in_relu, x)] == [1, 3, 4]


@pytest.mark.parametrize("name", VARIED)
def test_what_encloses_what(name):
    net = NETWORKS[name]()
    x = points(net, count=1)[0]
    view = ProductView(net, x, 0.5)
    assert view.product[-1].item() == pytest.approx(ll.global_bound(net, x[None]).value.item(), rel=1e-9)
    close = 1 + 1e-9
    assert (view.sampled <= view.product * close).all()
    known = view.exact.isfinite()
    assert (view.sampled[known] <= view.exact[known] * close).all()
    assert (view.exact[known] <= view.product[known] * close).all()
    assert view.image.norm(dim=2).max() <= close
    assert view.ellipse.norm(dim=2).max() <= close
    jacobian = torch.autograd.functional.jacobian(lambda p: net.double()(p[None])[0], x.double())
    slope = torch.linalg.matrix_norm(jacobian.reshape(-1, x.numel()), ord=2).item()
    assert view.slope[-1].item() == pytest.approx(slope, rel=1e-6, abs=1e-12)
    drawn = [products(view, depth) for depth in range(view.depths + 1)]
    assert len({len(figure.data) for figure in drawn}) == 1
    assert len({len(figure.layout.annotations) for figure in drawn}) == 1
    assert "nan" not in " ".join(sum((view.summary(depth) for depth in range(view.depths + 1)), ()))


def test_exact_where_it_is_affordable():
    net, x = ll.nets.load("moons"), MOONS.x_test[7]
    view = ProductView(net, x, 0.3)
    assert view.exact[-1].item() == ll.exact_bound(net, x[None], 0.3).value.item()
    digits = ProductView(ll.nets.load("digits-clipped"), DIGITS.x_test[3], 0.3)
    assert math.isnan(digits.exact[-1])
    assert "exact: too long a search, left out" in digits.summary(digits.depths)[2]
    named = {trace.name: trace for trace in products(digits, digits.depths).data if trace.name}
    assert all(height is None for height in named["exact"].y[2:])


def test_at_the_origin_the_fold_has_no_exact_search():
    explorer = ProductExplorer(ll.nets.fold(2, 4), torch.zeros(1, 2).double())
    assert "product of norms ≤ 16" in explorer.summary
    assert "nan" not in explorer.summary


def test_from_above_is_solid_and_from_below_dashed(folded):
    named = {trace.name: trace for trace in products(folded, 5).data if trace.name}
    assert named["best sampled slope"].line.dash == "dash"
    assert named["best sampled slope"].marker.symbol == "circle-open"
    product, exact = named["product of norms"], named["exact"]
    assert (product.line.dash, exact.line.dash) == ("solid", "solid")
    assert product.marker.symbol != exact.marker.symbol
    assert list(product.y) == pytest.approx([1, 2, 4, 8, 16, 32])


def test_the_slider_changes_figure_and_text():
    explorer = ProductExplorer(ll.nets.fold(2, 8), depth=3)
    before, text = titles(explorer.figure), explorer.summary
    for depth in range(9):
        explorer.depth.value = depth
        assert f"depth {depth} of 8" in explorer.summary
        assert f"product of norms ≤ {2**depth} " in explorer.summary
        assert f"<b>depth {depth}, in radii of the ball</b>" in titles(explorer.figure)
    explorer.reset.click()
    assert (titles(explorer.figure), explorer.summary) == (before, text)
    assert explorer.depth.description
    assert explorer.depth.tooltip


def test_a_deep_network_shows_a_part_of_its_chain():
    view = ProductView(ll.nets.fold(2, 12), torch.ones(2).double(), 0.5)
    for depth, shown in ((0, "ball"), (12, "depth 12"), (6, "depth 6")):
        assert any(f">{shown}<" in title for title in titles(products(view, depth)))
    assert len({len(products(view, depth).data) for depth in range(13)}) == 1


def test_a_product_of_nothing_allows_no_circle():
    layer = torch.nn.Linear(2, 2).double()
    layer.weight.data.zero_()
    drawn = products(ProductView(torch.nn.Sequential(layer), torch.ones(2).double(), 0.5), 1)
    first, second = (np.array([*trace.x, *trace.y], dtype=float) for trace in (drawn.data[0], drawn.data[2]))
    assert np.abs(first).max() == 1
    assert not second.any()


def test_bad_input_is_refused():
    net, x = ll.nets.load("moons"), MOONS.x_test
    for eps in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ll.InvalidInput, match="eps from"):
            ProductExplorer(net, x, eps=eps)
    with pytest.raises(ll.InvalidInput, match="index from 0"):
        ProductExplorer(net, x, index=-1)
    with pytest.raises(ll.InvalidInput, match="depth from 0 to 3"):
        ProductExplorer(net, x, depth=4)
    with pytest.raises(ll.InvalidInput, match="finite values"):
        ProductExplorer(net, x * math.nan)
    with pytest.raises(ll.InvalidInput, match="x of shape"):
        ProductExplorer(torch.nn.Sequential(torch.nn.Flatten(), *net))
    with pytest.raises(ll.UnsupportedLayer):
        ProductExplorer(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Hardshrink()), x)
    with pytest.raises(ll.InvalidInput, match="a radius above 0"):
        ProductView(net, x[0], 0.0)
