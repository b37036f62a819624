"""Every exercise whole: its reference is right, every classic mistake wrong, an empty answer not attempted.

So it is on the cases of the notebook and on hidden ones; a table of the visible cases fails on the hidden ones.
"""

from inspect import signature

import pytest
import torch
from table_of_visible_cases import cheat

import lliptools as ll

EXERCISES = {name: getattr(ll.check, name) for name in ll.check.__all__}
MISTAKES = [(name, n) for name, exercise in EXERCISES.items() for n in range(len(exercise.wrong))]
FUNCTIONS = [name for name, exercise in EXERCISES.items() if callable(exercise.reference)]
SEEDED = [name for name, exercise in EXERCISES.items() if exercise.seeded]
OPTIONS = {"capstone": {"seconds": 600.0}}  # a machine may be busy
SEEDS = (1, 20, 2**31 - 1)
SLOW = {"capstone", "new_bound", "sandwich", "worst_pair"}  # a second or more a check: one seed has to do


def outcome_of(name, answer, seed=None):
    return EXERCISES[name].outcome(answer, seed, **OPTIONS.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_is_right_and_its_check_leaves_the_random_numbers_alone(name):
    before = torch.get_rng_state()
    outcome = outcome_of(name, EXERCISES[name].reference)
    assert outcome.status == "right", outcome
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "n"), [pytest.param(*each, marks=[pytest.mark.slow] if each[1] else []) for each in MISTAKES]
)
def test_a_classic_mistake_is_wrong_and_told_so(name, n):
    answer, said = EXERCISES[name].wrong[n]
    outcome = outcome_of(name, answer)
    assert outcome.status == "wrong"
    assert said in outcome.message, outcome
    assert f"ll.check.{name}.hint()" in repr(outcome)
    assert outcome.score == 0
    assert outcome.counter_example is None or outcome.picture().data


def not_implemented(*_):
    raise NotImplementedError


@pytest.mark.parametrize("empty", [lambda *_: None, lambda *_: ..., not_implemented])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_empty_function_is_not_attempted(name, empty):
    outcome = EXERCISES[name].outcome(empty)
    assert outcome.status == "not attempted"
    assert outcome.message.startswith("fill in the function")


@pytest.mark.parametrize("name", [name for name in EXERCISES if name != "new_bound"])
@pytest.mark.parametrize("empty", [None, ...])
def test_nothing_is_not_attempted(name, empty):
    assert EXERCISES[name].outcome(empty).status == "not attempted"


def raises(*_):
    raise RuntimeError("no idea")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_answer_is_wrong(name):
    check = EXERCISES[name]
    assert "your function raised RuntimeError: no idea" in check(raises).message
    for nonsense in ("far", torch.full((7, 5), torch.nan), [[[0.5] * 3] * 3] * 3, {"a": 1}, (None, None), (1j, 1j, 1j)):
        outcome = check(lambda *_, nonsense=nonsense: nonsense)
        assert outcome.status == "wrong"
        assert "expected" in outcome.message
    assert check(lambda *_: torch.nan).status == "wrong"


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_come_in_steps_and_end(name, capsys):
    hints = EXERCISES[name].hints
    exercise = type(EXERCISES[name])()
    for n, said in enumerate(hints):
        exercise.hint()
        assert capsys.readouterr().out.strip() == f"hint {n + 1} of {len(hints)}: {said}"
    exercise.hint()
    assert "no more hints" in capsys.readouterr().out


def test_every_check_of_a_function_is_seeded():
    assert {*SEEDED} == {*FUNCTIONS, "new_bound"}
    assert all("seed" in signature(EXERCISES[name].__call__).parameters for name in SEEDED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name in SEEDED for seed in (SEEDS[1:2] if name in SLOW else SEEDS)]
)
def test_right_and_wrong_on_other_cases(name, seed):
    exercise = EXERCISES[name]
    outcome = outcome_of(name, exercise.reference, seed)
    assert outcome.status == "right", outcome
    wrong = exercise.wrong[:2] if name in SLOW else exercise.wrong[SEEDS.index(seed) :: len(SEEDS)]  # a seed for each
    for answer, _ in wrong:
        assert outcome_of(name, answer, seed).status == "wrong"
    if name in FUNCTIONS:
        assert outcome_of(name, lambda *_: None, seed).status == "not attempted"


# The slow ones are asked the same where the notebooks' own solutions are marked, in test_release.py.
@pytest.mark.slow
@pytest.mark.parametrize("lost", ["zero", "another case's"])
@pytest.mark.parametrize("name", [name for name in SEEDED if name not in SLOW])
def test_a_table_of_the_visible_cases_fails_on_others(name, lost):
    check = EXERCISES[name]
    answer = cheat(check.reference, check, lost)
    assert check(answer).status == "right"
    assert check(answer, seed=SEEDS[0]).status == "wrong"


@pytest.mark.parametrize("name", [name for name in EXERCISES if name not in SEEDED])
def test_an_example_needs_no_seed(name):
    with pytest.raises(ll.InvalidInput, match="draws no random cases"):
        EXERCISES[name].outcome(EXERCISES[name].reference, seed=1)
