"""What is no certificate file is refused, never a traceback."""

from decimal import Decimal

import pytest
from file_checks import as_text, is_refused, numbers
from small_file import STEP, TEXT, VALUES, at, changed

from lliptools.checker import CLAIM, FORMAT, Refused, check


def test_texts_that_are_no_certificates():
    deep = "[" * 100_000 + "]" * 100_000
    for text in (
        "",
        "{}",
        "[]",
        "null",
        "1",
        "NaN",
        deep,
        TEXT[:-3],
        TEXT + "x",
        TEXT.replace("}", "", 1),
        "\ufeff" + TEXT,
    ):
        with pytest.raises(Refused):
            check(text)


@pytest.mark.parametrize("key", ["format", "claim", "name", "network", "points"])
def test_keys_are_all_there_once_and_no_others(key):
    assert is_refused({other: value for other, value in numbers(TEXT).items() if other != key})
    assert is_refused(numbers(TEXT) | {"more": Decimal(1)})
    assert is_refused(numbers(TEXT) | {key: Decimal(1)})
    assert is_refused(numbers(TEXT) | {key: "lliptools certificate 2"}) == (key != "name")
    with pytest.raises(Refused, match="repeated"):
        check(TEXT.replace(f'"{key}":', f'"{key}": "", "{key}":', 1))


def test_a_key_is_not_repeated_further_in():
    for key in ("eps", "norm", "weight", "margins"):
        with pytest.raises(Refused, match="repeated"):
            check(TEXT.replace(f'"{key}":', f'"{key}": 0, "{key}":', 1))


def test_a_record_has_its_keys_only():
    for place in (("network", 0), ("network", 2), ("points", 0), (*STEP, 0), (*STEP, 1)):
        assert is_refused(changed(place, lambda record: record | {"more": Decimal(1)}))
        for key in at(place):
            assert is_refused(changed(place, lambda record, key=key: {k: v for k, v in record.items() if k != key}))


def test_lists_have_their_lengths():
    lists = [("network",), ("network", 0, "weight"), ("network", 1, "weight", 2), ("network", 2, "bias"), (*STEP,)]
    lists += [("network", 0, "theta"), ("network", 2, "theta"), ("points", 0, "x"), (*STEP, 0, "factor")]
    lists += [(*STEP, 0, "factor", 1), (*STEP, 1, "factor", 0)]
    lists += [("points", 0, "margins"), ("points", 0, "multipliers")]
    lists += [(*STEP, 1, name) for name in ("lower", "upper", "varies")]
    for place in lists:
        assert is_refused(changed(place, lambda values: [*values, values[-1] if values else Decimal(1)])), place
        assert is_refused(changed(place, lambda values: values[:-1] or [None])), place
        assert is_refused(changed(place, lambda values: []) if place != ("network", 2, "theta") else "")
    assert is_refused(changed(("points",), lambda values: []))


@pytest.mark.parametrize(
    "other", ['"1"', "true", "null", "[]", "{}", "NaN", "Infinity", "-Infinity", "1e999999999999999999999"]
)
def test_what_is_not_a_number(other):
    for place in VALUES:
        if (other == "true" and isinstance(at(place), bool)) or (other == "null" and "theta" in place):
            continue
        forged = as_text(changed(place, lambda v: "here")).replace('"here"', other)
        assert is_refused(forged), place


def test_masks_are_true_or_false():
    for j, varies in enumerate(numbers(TEXT)["points"][0]["hidden"][0]["varies"]):
        for other in (Decimal(int(varies)), str(varies), None, "true"):
            assert is_refused(changed((*STEP, 0, "varies", j), lambda v, other=other: other))


def test_numbers_too_long_for_exact_arithmetic_are_refused_at_once():
    for text in ("1" * 100_000, "1e-5000000", "1e5000000", "0." + "1" * 50_000, "1e-999999999999999999"):
        for place in (("network", 0, "weight", 0, 0), ("points", 0, "eps"), (*STEP, 0, "norm"), ("points", 0, "x", 0)):
            assert is_refused(as_text(changed(place, lambda v: "here")).replace('"here"', text))
    label = as_text(changed(("points", 0, "label"), lambda v: "here"))
    assert is_refused(label.replace('"here"', "9" * 10_000))
    assert is_refused(label.replace('"here"', "1e999999999"))


def test_one_class_or_no_units():
    assert is_refused(as_text({"format": FORMAT, "claim": CLAIM, "name": "", "network": [], "points": [{}]}))
    one = [{"weight": [[Decimal(1)]], "bias": [Decimal(0)], "theta": []}]
    point = {"x": [Decimal(0)], "label": Decimal(0), "eps": Decimal(1), "hidden": [], "margins": [], "multipliers": []}
    file = {"format": FORMAT, "claim": CLAIM, "name": "", "network": one, "points": [point]}
    with pytest.raises(Refused, match="classes"):
        check(as_text(file))
    two = [{"weight": [[Decimal(0)], [Decimal(0)]], "bias": [Decimal(1), Decimal(0)], "theta": []}]
    good = point | {"margins": [Decimal(1) / 2], "multipliers": [Decimal(2)]}
    assert not is_refused(file | {"network": two, "points": [good]})
    assert is_refused(file | {"network": [two[0] | {"weight": [[], []]}], "points": [good | {"x": []}]})


def test_a_name_cannot_pass_for_a_line_of_the_answer():
    file = numbers(TEXT) | {"name": "x\ncertified: everything \x1b[2J" + "x" * 500}
    said = check(as_text(file)).splitlines()
    assert len(said) == 3
    assert len(said[1]) < 150
    assert "\x1b" not in said[1]
