"""Every seeded check draws other cases from another seed: right answers stay right, wrong ones wrong, tables fail."""

from functools import partial
from inspect import signature

import pytest
import test_check
import test_checks_01
import test_checks_02
import test_checks_03
import test_checks_05
import test_checks_06
import test_checks_07
import test_checks_08
import torch
from table_of_visible_cases import cheat

import lliptools as ll

# Of every seeded check, an answer that is right and one with a classic mistake.
ANSWERS = {
    "pairwise_radius": (test_checks_01.ours, test_checks_01.runner_up),
    "power_iteration": (test_checks_02.power, test_checks_02.unscaled),
    "gram_iteration": (test_checks_02.gram, test_checks_02.gram_unscaled),
    "product_bound": (test_checks_03.product, test_checks_03.norm_of_product),
    "worst_pair": (test_checks_03.by_gradients, test_checks_03.far_pairs),
    "interval_box": (test_check.interval, test_check.ball),
    "ball_box": (test_check.ball, test_check.interval),
    "local_product": (test_check.local, test_check.rows_only),
    "relu_theta_mask": (test_checks_05.relu_mask, lambda lower, upper, theta: (upper > 0) & (lower < theta)),
    "clipped_maxmin_mask": (test_checks_05.pair_mask, test_checks_05.rows_like_columns),
    "sparsity_loss": (test_checks_05.loss, lambda *given: test_checks_05.loss(*given).item()),
    "theta_to_infinity": (test_checks_05.without_clipping, test_checks_05.at(100.0)),
    "gloro_loss": (test_checks_06.gloro, test_checks_06.gloro_own_class_by_zero),
    "local_loss": (test_checks_06.local, test_checks_06.at_radius_0),
    "sandwich": (test_checks_06.sandwich_by_hand, test_checks_06.attack_as_proof),
    "never_nan": (test_checks_06.proved, test_checks_06.nothing_breaks_it),
    "aol_scale": (test_checks_07.aol, lambda W: (W.T @ W).sum(dim=1)),
    "q_of_sn": (test_checks_07.q_of_sn, test_checks_07.q_in_few_steps),
    "eight_columns": (test_checks_07.factor, lambda W, T: 1.0),
    "new_bound": (test_checks_08.frobenius, test_checks_08.two_power_steps),
    "capstone": (test_checks_08.by_library, test_checks_08.by_attack),
}
SEEDS = (1, 20, 2**31 - 1)
SLOW = {"capstone", "new_bound", "sandwich", "worst_pair"}  # a second or more a check: one seed has to do


def check_of(name):
    check = getattr(ll.check, name)
    if name == "new_bound":
        return lambda answer, **seed: check(answer, test_checks_08.FROBENIUS, **seed)
    return partial(check, seconds=600) if name == "capstone" else check


def test_every_check_of_a_function_is_seeded():
    assert {name for name in ll.check.__all__ if getattr(getattr(ll.check, name), "seeded", False)} == set(ANSWERS)
    assert all("seed" in signature(getattr(ll.check, name).__call__).parameters for name in ANSWERS)


@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name in ANSWERS for seed in (SEEDS[1:2] if name in SLOW else SEEDS)]
)
def test_right_and_wrong_on_other_cases(name, seed):
    right, wrong = ANSWERS[name]
    outcome = check_of(name)(right, seed=seed)
    assert outcome.status == "right", outcome
    assert check_of(name)(wrong, seed=seed).status == "wrong"
    assert check_of(name)(lambda *_: None, seed=seed).status == "not attempted"


# The slow ones are asked the same where the notebooks' own solutions are marked, in test_release.py.
@pytest.mark.parametrize("lost", ["zero", "another case's"])
@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in SLOW])
def test_a_table_of_the_visible_cases_fails_on_others(name, lost):
    check = check_of(name)
    answer = cheat(ANSWERS[name][0], check, lost)
    assert check(answer).status == "right"
    assert check(answer, seed=SEEDS[0]).status == "wrong"


@pytest.mark.parametrize("name", ["why_sqrt2", "break_spectral_norm", "one_undecided_unit"])
def test_an_example_needs_no_seed(name):
    with pytest.raises(ll.InvalidInput, match="draws no random cases"):
        getattr(ll.check, name)(torch.ones(3), seed=1)
