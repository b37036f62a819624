"""The merged rungs against sampled slopes, exact norms and constants known in closed form."""

import math

import pytest
import torch
from networks import NETWORKS, points
from stepwise import (
    BATCH,
    FEATURES,
    NETS,
    RADII,
    SLACK,
    Linear,
    Residual,
    Units,
    after,
    center_and_radius,
    centers,
    inputs,
    merge,
    multipliers_bound,
    multipliers_pairwise,
    run,
    sampled,
    steps_of,
)

import lliptools as ll
from lliptools.bounds.balancing import start
from lliptools.bounds.ellipsoid import Problem
from lliptools.bounds.merged import FULL, by_groups


@pytest.mark.parametrize("eps", RADII)
@pytest.mark.parametrize("name", NETS)
def test_no_sampled_slope_is_above_any_rung(name, eps):
    layers, x = NETS[name], centers()
    steps, jacobians = steps_of(layers, x, eps), sampled(NETS[name], x, eps)
    norms = torch.linalg.matrix_norm(jacobians, 2).amax(dim=0)
    path = center_and_radius(steps, BATCH, FEATURES)
    assert (norms <= path * SLACK).all()
    reach = merge(steps, BATCH, FEATURES).reach()
    assert (jacobians.norm(dim=3).amax(dim=0) <= reach * SLACK).all()
    previous = path
    for count in (0, 3, 8, 20):
        value = multipliers_bound(steps, BATCH, FEATURES, optimization_steps=count)
        assert (norms <= value * SLACK).all()
        assert (value <= previous * SLACK).all()  # more steps are never worse
        previous = value
    y = torch.arange(BATCH) % jacobians.shape[2]
    differences = (jacobians[:, torch.arange(BATCH), y][:, :, None] - jacobians).norm(dim=3).amax(dim=0)
    shared = multipliers_pairwise(steps, BATCH, FEATURES, y)
    assert (differences <= shared * SLACK).all()
    assert (shared <= merge(steps, BATCH, FEATURES).differences(y).reach() * SLACK).all()
    assert (shared[torch.arange(BATCH), y] == 0).all()


@pytest.mark.parametrize("name", NETS)
def test_pairs_of_points_at_the_kinks(name):
    """Secants, not only Jacobians: the slope intervals hold between any two points of the ball."""
    layers, x, eps = NETS[name], centers(), 0.4
    value = multipliers_bound(steps_of(layers, x, eps), BATCH, FEATURES)
    ends = x + eps * torch.nn.functional.normalize(torch.randn(200, BATCH, FEATURES, dtype=torch.float64), dim=2)
    secants = (run(layers, ends[1:]) - run(layers, ends[:-1])).norm(dim=2) / (ends[1:] - ends[:-1]).norm(dim=2)
    assert (secants.amax(dim=0) <= value * SLACK).all()


@pytest.mark.parametrize("name", NETS)
def test_a_batch_is_its_points(name):
    layers, x = NETS[name], centers()
    steps = steps_of(layers, x, 0.4)
    together = multipliers_bound(steps, BATCH, FEATURES), center_and_radius(steps, BATCH, FEATURES)
    for k in range(BATCH):
        alone = steps_of(layers, x[k : k + 1], 0.4)
        assert multipliers_bound(alone, 1, FEATURES).item() == pytest.approx(together[0][k].item(), rel=1e-6)
        assert center_and_radius(alone, 1, FEATURES).item() == pytest.approx(together[1][k].item(), rel=1e-12)


def test_many_samples_come_back_in_their_order():
    layers = NETS["relu"]
    x = torch.randn(100, FEATURES, dtype=torch.float64)
    steps = steps_of(layers, x, 0.2)
    sizes = []
    by_groups(merge(steps, 100, FEATURES), lambda index, group: sizes.append(len(index)) or group.path())
    assert len(sizes) > 1
    turned = steps_of(layers, x.flip(0), 0.2)
    one = multipliers_bound(steps, 100, FEATURES)
    assert torch.allclose(one, multipliers_bound(turned, 100, FEATURES).flip(0), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-120, 1e-5, 1.0, 1e5, 1e80])
@pytest.mark.parametrize("name", ["relu", "maxmin", "leaky"])
def test_decided_units_leave_the_exact_norm(name, scale):
    x, layers = centers(), NETS[name]
    plain = [(kind, what[0], 0 * what[1]) if kind == "linear" else (kind, *what) for kind, *what in layers]
    steps = steps_of([(k, scale * w[0], w[1]) if k == "linear" else (k, *w) for k, *w in plain], x, 0.0)
    exact = torch.linalg.matrix_norm(torch.func.vmap(torch.func.jacrev(lambda row: run(plain, row)))(x), 2)
    truth = exact.log() + 3 * math.log(scale)
    for value in (center_and_radius(steps, BATCH, FEATURES), multipliers_bound(steps, BATCH, FEATURES)):
        if abs(math.log10(scale)) * 3 < 300:
            assert torch.allclose(value.log(), truth, rtol=1e-12, atol=1e-12)
        else:
            assert (value.log() >= truth).all()


@pytest.mark.parametrize("factor", [1e-60, 1e-5, 1e5, 1e60])
@pytest.mark.parametrize("name", ["relu", "residual", "maxmin"])
def test_scaled_weights_scale_the_bound(name, factor):
    """The last matrix times a factor, then a layer divided and the next one multiplied by it: nothing else moves."""
    x, layers = centers(), NETS[name]
    steps = steps_of(layers, x, 0.4)
    value = multipliers_bound(steps, BATCH, FEATURES)
    scaled = [*steps[:-1], Linear(factor * steps[-1].weight)]
    assert torch.allclose(multipliers_bound(scaled, BATCH, FEATURES), factor * value, rtol=1e-8, atol=0)
    inner = [Linear(steps[0].weight / factor), *steps[1:-1], Linear(factor * steps[-1].weight)]
    if name != "residual":
        assert torch.allclose(multipliers_bound(inner, BATCH, FEATURES), value, rtol=1e-8, atol=0)


def fold(depth, size=2):
    split = torch.cat([torch.eye(size), -torch.eye(size)]).double()
    varying = Units(torch.zeros(1, 2 * size).double(), torch.ones(1, 2 * size).double())
    return [step for _ in range(depth) for step in (Linear(split), varying, Linear(split.T))]


def test_fold_reaches_the_optimum_of_the_semidefinite_program():
    assert multipliers_bound(fold(1), 1, 2, optimization_steps=60).item() == pytest.approx(2, rel=1e-4)
    assert center_and_radius(fold(3), 1, 2).item() <= 8 * SLACK
    assert 1 <= multipliers_bound(fold(3), 1, 2).item() <= 8 * SLACK


def test_one_unit_is_exact_in_closed_form():
    """f = a x + b relu(c x) with b, c > 0: the largest slope is a + b c, and the balanced start finds it."""
    steps = [
        Linear(torch.tensor([[1.0], [3.0]]).double()),
        Units(torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0, 1.0]]).double()),
        Linear(torch.tensor([[2.0, 0.7]], dtype=torch.float64)),
    ]
    assert multipliers_bound(steps, 1, 1, optimization_steps=0).item() == pytest.approx(2 + 2.1, rel=1e-9)


def test_a_few_steps_come_close_to_the_optimum():
    x = centers(1)
    for name in ("relu", "clipped"):
        steps = steps_of(NETS[name], x, 0.4)
        few, many = multipliers_bound(steps, 1, FEATURES), multipliers_bound(steps, 1, FEATURES, optimization_steps=400)
        assert few.item() <= 1.1 * many.item()


def test_wrong_multipliers_prove_nothing():
    x = centers()
    for name in ("relu", "maxmin", "residual"):
        layers = NETS[name]
        merged = merge(steps_of(layers, x, 0.4), BATCH, FEATURES)
        norms = torch.linalg.matrix_norm(sampled(layers, x, 0.4), 2).amax(dim=0)
        problem, shape = Problem.of(merged), (BATCH, sum(rows.shape[2] for rows in merged.rows))
        for wrong in (1e3, 1e12, 1e40, math.inf, math.nan):
            multipliers = torch.full(shape, wrong, dtype=torch.float64)
            assert problem.certify(multipliers).isinf().all()
            assert problem.certify_each(multipliers).isinf().all()
        for seed in range(50):  # whatever is found is an upper bound or infinite
            generator = torch.Generator().manual_seed(seed)
            multipliers = (6 * torch.randn(shape, generator=generator, dtype=torch.float64) - 4).exp()
            assert (problem.certify(multipliers) * 2.0**merged.exponent >= norms / SLACK).all()


def test_what_is_not_finite_is_not_bounded():
    steps = steps_of(NETS["relu"], centers(), 0.4)
    for broken in (math.nan, math.inf):
        weight = steps[2].weight.clone()
        weight[0, 0] = broken
        bad = [*steps[:2], Linear(weight), *steps[3:]]
        assert center_and_radius(bad, BATCH, FEATURES).isinf().all()
        assert multipliers_bound(bad, BATCH, FEATURES).isinf().all()
        assert (merge(bad, BATCH, FEATURES).reach() == math.inf).any()
        greatest = steps[1].greatest.clone()
        greatest[1, 0] = broken  # of one sample
        bad = [steps[0], Units(steps[1].least, greatest), *steps[2:]]
        value, pairs = (
            multipliers_bound(bad, BATCH, FEATURES),
            multipliers_pairwise(bad, BATCH, FEATURES, torch.zeros(4).long()),
        )
        assert value.isinf().tolist() == [False, True, False, False]
        assert pairs[1, 1:].isinf().all()
        assert pairs[0].isfinite().all()


def test_constant_outputs_have_the_bound_zero():
    off = Units(torch.zeros(2, 5).double(), torch.tensor([[0.0] * 5, [1.0] * 5]).double())
    steps = [Linear(torch.randn(5, 3).double()), off, Linear(torch.randn(4, 5).double())]
    for value in (center_and_radius(steps, 2, 3), multipliers_bound(steps, 2, 3)):
        assert value[0] == 0
        assert value[1] > 0
    pairs = multipliers_pairwise(steps, 2, 3, torch.tensor([0, 1]))
    assert (pairs[0] == 0).all()
    zero = [*steps[:-1], Linear(torch.zeros(4, 5).double())]
    assert (multipliers_bound(zero, 2, 3) == 0).all()


def test_numbers_lost_to_underflow_are_not_zero():
    """Slope 1 as 1e-200 · 1e-200 · 1e200 · 1e200, and beside a unit of size 1 that leads nowhere."""
    tiny = [torch.tensor([[value]], dtype=torch.float64) for value in (1e-200, 1e-200, 1e200, 1e200)]
    both = Units(torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    chain = [step for weight in tiny for step in (Linear(weight), both)]
    beside = [
        Linear(torch.tensor([[1.0], [1e-200]], dtype=torch.float64)),
        Units(torch.zeros(1, 2).double(), torch.ones(1, 2).double()),
        Linear(torch.tensor([[0.0, 1e200]], dtype=torch.float64)),
    ]
    faint = [
        Linear(torch.ones(1, 1).double()),
        Units(torch.zeros(1, 1).double(), torch.full((1, 1), 1e-200, dtype=torch.float64)),
        Linear(torch.full((1, 1), 1e200, dtype=torch.float64)),
    ]
    faint_residual = [Residual([Linear(tiny[0]), *chain[:1]]), Linear(tiny[3])]
    for steps in (chain, beside, faint, faint_residual):
        assert center_and_radius(steps, 1, 1).item() >= 1 / SLACK
        assert multipliers_bound(steps, 1, 1).item() >= 1 / SLACK
        assert merge(steps, 1, 1).reach().min().item() >= 1 / SLACK


def test_boxes_come_block_by_block():
    """The reach of a block's units needs only the slopes before it, and is the bound of each by itself."""
    layers, x = NETS["relu"], centers()
    steps = steps_of(layers, x, 0.2)
    merged = inputs(BATCH, FEATURES)
    for count, step in enumerate(steps, start=1):
        merged = after(merged, [step])
        assert torch.equal(merged.reach(), merge(steps[:count], BATCH, FEATURES).reach())
    first = merge(steps[:1], BATCH, FEATURES).reach()
    assert torch.allclose(first, steps[0].weight.norm(dim=1).expand(BATCH, -1), rtol=1e-12)


def test_decided_units_that_underflow_are_not_zero():
    """1e-170 · 1e-170 · 1e300 beside a unit of size 1: the state is lost, and no bound is made of what is left."""
    on = Units(torch.ones(1, 2).double(), torch.ones(1, 2).double())
    weights = ([[1.0], [1e-170]], [[1.0, 0.0], [0.0, 1e-170]], [[0.0, 1e300]])
    first, second, last = (Linear(torch.tensor(weight, dtype=torch.float64)) for weight in weights)
    merged = merge([first, on, second, on, last], 1, 1)
    assert merged.path().item() >= 1e-40
    assert Problem.of(merged).certify(torch.zeros(1, 0).double()).item() >= 1e-40


@pytest.mark.parametrize("name", ["relu", "deep", "residual", "maxmin"])
def test_the_closed_form_is_feasible_by_itself(name):
    """Whatever the radius, the multipliers of the better start prove something, and no more than centre plus radius."""
    layers, x = NETS[name], centers()
    for eps in (0.1, 1.0, 1e3):
        merged = merge(steps_of(layers, x, eps), BATCH, FEATURES)
        problem = Problem.of(merged)
        path = merged.path() * 2.0**-merged.exponent
        found = problem.certify(start(problem, merged, path / problem.scale))
        joint = [torch.ones(BATCH).double()]
        for read in merged.links:
            joint.append((read * torch.stack(joint, dim=1)).sum(dim=1))
        chain = (merged.part_norms() * torch.stack(joint, dim=1)).sum(dim=1)
        assert (found <= chain * (1 + 1e-6)).all()


@pytest.mark.parametrize(("limit", "said"), [("ENTRIES", "entries as a matrix"), ("UNSTABLE", "unstable units")])
def test_tightest_says_what_it_left_out(monkeypatch, limit, said):
    net, x = NETWORKS["relu"](), points(NETWORKS["relu"]())
    assert not ll.tightest_bound(net, x, 0.5).left_out
    monkeypatch.setattr(f"lliptools.bounds.merged.{limit}", 0)
    found = ll.tightest_bound(net, x, 0.5)
    assert said in found.left_out
    assert said in str(found)
    assert torch.equal(
        found.value, ll.local_bound(net, x, 0.5, **({"domain": FULL} if limit == "UNSTABLE" else {})).value
    )
