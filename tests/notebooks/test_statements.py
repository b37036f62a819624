"""Statements of the notebooks that are easily said too strongly, each where it holds and where it stops holding."""

import re
from pathlib import Path

import pytest
import torch

import lliptools as ll
from lliptools.layers.condition import gershgorin_scale

norm = torch.linalg.matrix_norm


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_02_power_iteration_is_never_above_and_exact_from_the_best_direction():
    W = random(6, 5)
    best = torch.linalg.svd(W).Vh[0]
    for start in (*random(20, 5, seed=1), best):
        v = start
        for _ in range(3):
            v = torch.nn.functional.normalize(W.T @ (W @ v), dim=0)
        assert (W @ v).norm() <= norm(W, 2) * (1 + 1e-12)
    torch.testing.assert_close((W @ best).norm(), norm(W, 2))


def test_03_the_norm_of_the_product_is_no_bound():
    """|x| = relu(x) + relu(−x) has constant 1."""
    split, back = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 1.0]])
    assert norm(back @ split, 2) == 0
    assert (back @ (split @ torch.tensor([3.0])).relu()).item() == 3


def test_04_the_jacobian_at_x_is_the_limit_except_on_a_kink():
    net = ll.nets.fold(size=1, depth=1)
    for place, limit in ((0.5, 1.0), (0.0, 1.0)):
        x = torch.tensor([[place]]).double()
        assert ll.exact_bound(net, x, 1e-9).value.item() == pytest.approx(limit)
    relu = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1)).double()
    with torch.no_grad():
        for layer in (relu[0], relu[2]):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    kink = torch.zeros(1, 1).double()
    assert torch.autograd.functional.jacobian(relu, kink).item() == 0
    assert ll.exact_bound(relu, kink, 1e-9).value.item() == pytest.approx(1)


def test_05_the_global_bound_knows_no_threshold_and_the_first_layer_never_varies_more_as_they_fall():
    """On digits, the weights fixed: margin and L fall together, and far down the margin falls faster."""
    net, digits = ll.nets.load("digits-0.1-clipped"), ll.training.digits()
    x, y = digits.x_test[:120], digits.y_test[:120]
    everywhere, before, share = ll.global_bound(net, x[:1]).value, None, {}
    for factor in (float("inf"), 1.0, 0.5, 0.25):
        other = ll.teach.scale_thresholds(net, factor)
        assert torch.equal(ll.global_bound(other, x[:1]).value, everywhere)
        found = ll.certify(other, x, y, 0.1, centred=False)
        varies = found.bound.blocks[0].slope > 0
        assert before is None or (varies <= before).all()
        before, share[factor] = varies, (found.margin / found.bound.value)
    assert share[1.0].mean() > 1.05 * share[float("inf")].mean()
    assert share[1.0].median() < 1.05 * share[float("inf")].median()
    assert share[0.25].mean() < share[0.5].mean() < share[1.0].mean()


def test_06_both_forms_of_gloro_agree_where_the_prediction_is_right():
    """The original leaves out the predicted class and takes its constants, the library's the label."""
    logits, eps = random(40, 4), 0.3
    pairwise, label = random(40, 4, 4, seed=1).abs(), random(40, 4, seed=2).argmax(dim=1)

    def loss(left_out):
        chosen = pairwise[torch.arange(40), left_out]
        worst = (logits + eps * chosen).scatter(1, left_out[:, None], -torch.inf).amax(dim=1, keepdim=True)
        scores = torch.cat([logits, worst], dim=1)
        return torch.nn.functional.cross_entropy(scores, label, reduction="none")

    right = logits.argmax(dim=1) == label
    assert right.any() and not right.all()  # noqa: PT018
    assert torch.equal(loss(label)[right], loss(logits.argmax(dim=1))[right])
    assert not torch.equal(loss(label), loss(logits.argmax(dim=1)))
    chosen = pairwise[torch.arange(40), label].scatter(1, label[:, None], 0.0)
    torch.testing.assert_close(ll.training.gloro(logits, chosen, eps, label), loss(label).mean())


def test_07_the_discs_of_the_condition_touch_zero_and_prove_it():
    W, q = random(7, 5), random(5, seed=1).exp()
    T = gershgorin_scale(W, q)
    M = torch.diag(T) - W.T @ W * q[None] / q[:, None]
    radii = M.abs().sum(dim=1) - M.diagonal().abs()
    torch.testing.assert_close(M.diagonal() - radii, torch.zeros(5).double(), atol=1e-12, rtol=0)
    assert torch.linalg.eigvalsh(torch.diag(T) - W.T @ W)[0] >= -1e-12


def test_07_sll_is_spectral_for_one_q_where_no_columns_fall_apart():
    W = random(7, 5).abs()  # all products of columns positive: irreducible
    q = torch.linalg.eigh(W.T @ W).eigenvectors[:, -1].abs()
    torch.testing.assert_close(gershgorin_scale(W, q), norm(W, 2).square().expand(5))
    apart = torch.diag(torch.tensor([1.0, 2.0])).double()  # orthogonal columns: no q mixes them
    for q in random(10, 2, seed=3).exp():
        torch.testing.assert_close(gershgorin_scale(apart, q), torch.tensor([1.0, 4.0]).double())


def test_08_multipliers_bound_only_where_the_matrix_is_positive_definite():
    """The fold on one coordinate: L² = 1 + t/2 + 2/(t − 2), the truth 1, and S = t·1 − [1 −1; −1 1] has t − 2."""
    squared = {t: 1 + t / 2 + 2 / (t - 2) for t in (1.0, 1.5, 2.5, 4.0)}
    assert squared[4.0] == 4
    assert squared[2.5] >= 1
    assert squared[1.0] < 1
    assert squared[1.5] < 1


def test_08_tightest_takes_eight_steps_and_merged_none():
    """More steps of merged_bound are never above fewer; tightest is below local and merged, whatever they are."""
    moons, net = ll.training.moons(), ll.nets.load("moons")
    x = moons.x_test[:20]
    merged, tightest = ll.merged_bound(net, x, 0.3).value, ll.tightest_bound(net, x, 0.3).value
    assert torch.equal(merged, ll.merged_bound(net, x, 0.3, steps=0).value)
    assert torch.equal(tightest, ll.tightest_bound(net, x, 0.3, steps=8).value)
    eight, local = ll.merged_bound(net, x, 0.3, steps=8).value, ll.local_bound(net, x, 0.3).value
    assert (eight <= merged).all()
    assert (eight < merged).any()
    assert (tightest <= torch.minimum(merged, local)).all()
    assert (ll.exact_bound(net, x, 0.3).value <= tightest * (1 + 1e-9)).all()


def test_08_global_and_path_are_in_no_order():
    """On the moons path is smaller, on the network of 1-Lipschitz layers global."""
    moons, digits = ll.training.moons(), ll.training.digits()
    for name, x, smaller in (("moons", moons.x_test[:3], "path"), ("sll-digits", digits.x_test[:3], "global")):
        net = ll.nets.load(name)
        values = {kind: ll.BOUNDS[kind](net, x, 0.1).value for kind in ("path", "global")}
        assert (values[smaller] <= torch.minimum(*values.values())).all()


def test_09_a_smaller_share_of_feature_maps_is_constant():
    """At the three radii whose pictures stand in the notebook, for the 7 of the figure and on average."""
    dense, maps = ll.nets.load("digits-clipped"), ll.nets.load("digits-conv")
    flat, images = ll.training.digits().x_test[:60], ll.training.digit_images().x_test[:60]
    for eps in (0.02, 0.1, 0.4):
        shares = [_constant(net, x, eps) for net, x in ((maps, images), (dense, flat))]
        assert shares[0][3] < shares[1][3]
        assert shares[0].mean() < shares[1].mean()


def _constant(net, x, eps):
    blocks = ll.local_bound(net, x, eps).blocks[:-1]
    return torch.cat([(block.slope == 0).flatten(1) for block in blocks], dim=1).double().mean(dim=1)


def test_every_test_that_the_page_of_statements_names_is_there():
    tests = Path(__file__).parents[1]
    page = (tests.parent / "docs" / "statements.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 20
    for file, name in named:
        (path,) = tests.rglob(file)
        assert f"\ndef {name}(" in path.read_text(encoding="utf-8"), name
    rows = [line for line in page.splitlines() if re.match(r"\| 0\d", line)]
    assert all("proof" in row or "cell" in row or "test_" in row or "exercise" in row for row in rows)
    own = re.findall(r"\ndef (test_0\d_\w+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(own) <= {name for _, name in named}
