"""Checkpoints of other runs, broken records and places where none can be are refused."""

import json
from dataclasses import replace

import pytest
import torch
from short_runs import RECIPE, built, moons, one_epoch, same

import lliptools as ll
from lliptools.training import checkpoints, fit
from lliptools.training.recipes import triangle


def test_the_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    def run(recipe=RECIPE, seed=0, data=None, net=None):
        stop = lambda history: True  # noqa: E731
        return fit(net or built(recipe), data or moons(), recipe, seed=seed, checkpoint=tmp_path, callback=stop)

    run()
    other = ll.nets.mlp(2, 9, 2, activation="clipped_relu").double()
    wider = replace(ll.training.moons())
    for options, said in (
        ({"recipe": replace(RECIPE, epochs=7)}, r"recipe\.epochs 6 there and 7 here"),
        (
            {"recipe": replace(RECIPE, objective=ll.training.Clean())},
            r"recipe\.objective\.type \S+Certified there and \S+Clean here\. ",
        ),
        (
            {"recipe": replace(RECIPE, objective=replace(RECIPE.objective, eps=0.2))},
            r"objective\.eps 0\.1 .* 0\.2 here",
        ),
        ({"recipe": replace(RECIPE, schedule=triangle)}, r"schedule"),
        ({"recipe": replace(RECIPE, dtype=torch.float32)}, r"torch\.float64 there and torch\.float32 here"),
        ({"seed": 1}, r"seed 0 there and 1 here"),
        ({"seed": None}, r"seed 0 there and 0 \(torch's\) here"),
        ({"net": other}, r"weights\.0\.bias \[8\] there and \[9\] here"),
        ({"data": wider}, r"data\.train \[250, 2\] there and \[750, 2\] here"),
    ):
        with pytest.raises(ll.InvalidInput, match=said) as error:
            run(**options)
        assert f"remove {tmp_path}" in str(error.value)
    monkeypatch.setattr(ll, "__version__", "9.9")
    with pytest.raises(ll.InvalidInput, match=r"versions\.lliptools 0\.\S+ there and 9\.9 here"):
        run()
    monkeypatch.undo()
    assert len(run()) == 2
    file = next(tmp_path.glob("*.safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\0" if content[-1] else content[:-1] + b"\1")
    with pytest.raises(ll.InvalidInput, match="another checksum"):
        run()
    file.unlink()
    with pytest.raises(ll.InvalidInput, match="missing"):
        run()
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(ll.InvalidInput, match="not JSON"):
        run()


def changed(data, part):
    """The same data with one number that differs."""
    other = getattr(data, part).clone()
    other[-1] = other[-1] + 1e-9 if part == "x_train" else 1 - other[-1]
    return replace(data, **{part: other})


@pytest.mark.parametrize("part", ["x_train", "y_train"])
def test_a_run_on_other_data_of_the_same_shape_is_another_run(tmp_path, part):
    recipe = replace(RECIPE, hold_out=0)
    one_epoch(tmp_path, recipe=recipe)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = changed(moons(), part)
    with pytest.raises(ll.InvalidInput, match=r"content\.train \w{64} there and \w{64} here"):
        one_epoch(tmp_path, other, recipe)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(one_epoch(tmp_path, recipe=recipe)) == 2


def test_a_run_with_another_validation_part_is_another_run(tmp_path):
    recipe, data = replace(RECIPE, hold_out=0), moons().hold_out(50)
    one_epoch(tmp_path, data, recipe)
    swapped = replace(data, x_validation=data.x_validation.flip(0))
    with pytest.raises(ll.InvalidInput, match=r"content\.validation \w{64} there and \w{64} here"):
        one_epoch(tmp_path, swapped, recipe)
    assert len(one_epoch(tmp_path, data, recipe)) == 2


def test_a_checkpoint_that_does_not_say_its_data_is_refused(tmp_path):
    one_epoch(tmp_path)
    path = tmp_path / "checkpoint.json"
    record = json.loads(path.read_text())
    del record["content"]
    path.write_text(json.dumps(record))
    with pytest.raises(ll.InvalidInput, match=r"content None there.*remove"):
        one_epoch(tmp_path)


def spoilt(change):
    """The text of a checkpoint.json after a change of its record."""

    def text(record):
        change(record)
        return json.dumps(record)

    return text


def first_epoch(**numbers):
    return spoilt(lambda record: record["history"][0].update(numbers))


BROKEN = {
    "empty": lambda record: "",
    "cut short": lambda record: json.dumps(record)[:-1],
    "a list": lambda record: "[1]",
    "a list of objects": lambda record: "[{}]",
    "text": lambda record: '"history"',
    "nothing": lambda record: "null",
    "nested too deeply": lambda record: "[" * 10**5,
    "not text": lambda record: "\xff",
    "no tensors": spoilt(lambda record: record.pop("tensors")),
    "a number for tensors": spoilt(lambda record: record.update(tensors=3)),
    "another folder": spoilt(lambda record: record.update(tensors="../checkpoint-0123456789abcdef.safetensors")),
    "no checksum": spoilt(lambda record: record.pop("sha256")),
    "a list for a checksum": spoilt(lambda record: record.update(sha256=[1])),
    "no history": spoilt(lambda record: record.pop("history")),
    "a number for a history": spoilt(lambda record: record.update(history=1)),
    "epochs that are numbers": spoilt(lambda record: record.update(history=[1])),
    "an epoch without numbers": spoilt(lambda record: record.update(history=[{}])),
    "epochs that differ": spoilt(lambda record: record["history"].append({"epoch": 1})),
    "an epoch that is missing": first_epoch(epoch=1),
    "a loss that is NaN": first_epoch(loss=float("nan")),
    "a loss that is infinite": first_epoch(loss=float("inf")),
    "a loss in words": first_epoch(loss="small"),
    "an accuracy that is true": first_epoch(clean=True),
    "no recipe": spoilt(lambda record: record.pop("recipe")),
    "a list for a recipe": spoilt(lambda record: record.update(recipe=[])),
    "text for the data": spoilt(lambda record: record.update(data="moons")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_record_that_is_broken_is_one_message(tmp_path, case):
    one_epoch(tmp_path)
    path = tmp_path / "checkpoint.json"
    path.write_bytes(BROKEN[case](json.loads(path.read_text())).encode("latin-1"))
    with pytest.raises(ll.InvalidInput, match=f"remove {tmp_path}") as error:
        one_epoch(tmp_path)
    assert "checkpoint" in str(error.value)
    checkpoints.remove(tmp_path)  # the next step that the message names
    assert len(one_epoch(tmp_path)) == 1


def test_tensors_of_another_run_are_refused(tmp_path):
    one_epoch(tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    whole = checkpoints.load_file(tmp_path / record["tensors"])
    progress = {"history": record["history"]}
    for name in ("weights.0.bias", "random.torch", "optimizer.0.step"):
        less = {key: value for key, value in whole.items() if key != name}
        checkpoints.write(tmp_path, {key: record[key] for key in record.keys() - progress.keys()}, progress, less)
        if name == "optimizer.0.step":  # which torch would begin anew
            continue
        with pytest.raises(ll.InvalidInput, match="tensors of another run"):
            one_epoch(tmp_path)


@pytest.mark.slow
def test_two_runs_in_one_folder_are_refused(tmp_path):
    refused = []

    def second(history):
        try:
            one_epoch(tmp_path)
        except ll.InvalidInput as error:
            refused.append(str(error))

    whole = fit(built(RECIPE), moons(), RECIPE, seed=0)
    torch.manual_seed(0)
    held = fit(built(RECIPE), moons(), RECIPE, seed=0, checkpoint=tmp_path, callback=second)
    assert len(refused) == RECIPE.epochs
    assert all("a second run in the same folder" in said and "wait until" in said for said in refused)
    assert same(held, whole)
    with checkpoints.held(tmp_path):
        checkpoints.remove(tmp_path)  # leaves what another holds
        assert (tmp_path / "checkpoint.json").exists()
    checkpoints.remove(tmp_path)
    assert not tmp_path.exists()
    checkpoints.remove(tmp_path)


def test_a_folder_that_is_a_file_is_said_before_the_run(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ll.InvalidInput, match="which is a file"):
            one_epoch(place)
    assert (tmp_path / "file").read_text() == "mine"
