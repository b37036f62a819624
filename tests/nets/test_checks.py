"""What is given to the bounds, in every form that a number can have: right, or refused by name."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import lliptools as ll
from lliptools.nets import checks

X = torch.zeros(3, 2, dtype=torch.float64)
NAN = math.nan
NOTHING = {
    "nan": NAN,
    "nan of numpy": np.float64(NAN),
    "a tensor of nan": torch.tensor(NAN),
    "one nan": torch.tensor([0.1, NAN, 0.3]),
    "minus inf": -math.inf,
    "negative": -1.0,
    "true": True,
    "true of numpy": np.bool_(True),
    "a tensor of bool": torch.tensor(True),
    "complex": 1j,
    "a complex tensor": torch.tensor(1j),
    "text": "0.1",
    "none": None,
    "a dictionary": {},
    "two numbers": (0.0, 1.0),
    "another shape": torch.ones(2),
    "sparse": torch.tensor([0.1, 0.2, 0.3]).to_sparse(),
    "on meta": torch.tensor(0.1, device="meta"),
    "an endless integer": 10**400,
    "an array": np.array([[0.1, 0.2, 0.3]]),
    "decimals in an array": np.array([Decimal("0.1")] * 3),
}
CHECKS = {
    "domain": lambda value: checks.check_domain(value if isinstance(value, tuple) else (value, 1.0), X + 2),
    "domain, high": lambda value: checks.check_domain((-1.0, value), X),
    "stage": lambda value: checks.check_stages(value, None),
    "norm": lambda value: checks.check_stages(ll.domains.Ball, "" if value is None else value),
    "steps": lambda value: checks.check_steps(-1 if isinstance(value, int) else value),
    "tolerance": checks.check_tolerance,
    "probability": checks.check_probability,
    "labels": lambda value: checks.check_labels(value, 3, 2, X.device),
}


@pytest.mark.parametrize("what", NOTHING)
def test_radii_that_are_none(what):
    for check in (checks.check_eps, checks.check_finite_eps):
        with pytest.raises(ll.InvalidInput):
            check(NOTHING[what], X)


@pytest.mark.parametrize("what", [what for what in NOTHING if what != "one nan"])
@pytest.mark.parametrize("check", CHECKS)
def test_nothing_that_is_no_number_passes_another_check(check, what):
    with pytest.raises(ll.InvalidInput):
        CHECKS[check](NOTHING[what])


RIGHT = {
    "float": 0.1,
    "numpy": np.float64(0.1),
    "numpy's float32": np.float32(0.1),
    "integer": 3,
    "numpy's integer": np.int64(3),
    "decimal": Decimal("0.7"),
    "fraction": Fraction(1, 3),
    "long double": np.longdouble("0.7"),
    "an integer between two numbers": 2**53 + 1,
    "float16": torch.tensor(0.1, dtype=torch.float16),
    "float32": torch.tensor(0.1),
    "whole": torch.tensor(2),
    "unsigned": torch.tensor(2**64 - 1, dtype=torch.uint64),
}


@pytest.mark.parametrize("what", RIGHT)
def test_no_radius_is_rounded_to_a_smaller_one(what):
    found = checks.check_eps(RIGHT[what], X)
    given = RIGHT[what].item() if isinstance(RIGHT[what], torch.Tensor) else RIGHT[what]
    assert found.shape == (3,)
    assert given <= found[0].item() <= np.nextafter(np.nextafter(float(given), np.inf), np.inf)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64])
def test_labels_of_every_integer_type(dtype):
    assert checks.check_labels(torch.tensor([0, 1, 1], dtype=dtype), 3, 2, X.device).tolist() == [0, 1, 1]
    with pytest.raises(ll.InvalidInput):
        checks.check_labels(torch.tensor([0, 1, 2], dtype=dtype), 3, 2, X.device)


def test_labels_that_would_wrap():
    for value in (2**64 - 1, 2**63, 2**64 - 2**32):
        with pytest.raises(ll.InvalidInput):
            checks.check_labels(torch.tensor([value, 0, 1], dtype=torch.uint64), 3, 2, X.device)
