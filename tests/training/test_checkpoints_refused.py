"""Checkpoints of other runs, broken records and places where none can be are refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
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
    file = tmp_path / checkpoints.FILE
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\0" if content[-1] else content[:-1] + b"\1")
    with pytest.raises(ll.InvalidInput, match="another checksum"):
        run()
    for broken in (b"", b"{", content[:-1], content[:100], content + b"\0"):
        file.write_bytes(broken)
        with pytest.raises(ll.InvalidInput, match=f"{checkpoints.FILE}: .*remove {tmp_path}"):
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
    record, tensors = checkpoints.read(tmp_path, {})
    del record["content"]
    checkpoints.write(tmp_path, record, {}, tensors)
    with pytest.raises(ll.InvalidInput, match=r"content None there.*remove"):
        one_epoch(tmp_path)


def spoilt(change):
    """The metadata after a change of the record in them."""

    def changed(about):
        record = json.loads(about["record"])
        change(record)
        return about | {"record": json.dumps(record)}

    return changed


BROKEN = {
    "no metadata": lambda about: None,
    "no record": lambda about: {"checksum": about["checksum"]},
    "no checksum": lambda about: {"record": about["record"]},
    "another checksum": lambda about: about | {"checksum": "0" * 64},
    "cut short": lambda about: about | {"record": about["record"][:-1]},
    "a list": lambda about: about | {"record": "[1]"},
    "nothing": lambda about: about | {"record": ""},
    "nested too deeply": lambda about: about | {"record": "[" * 10**5},
    "no history": spoilt(lambda record: record.pop("history")),
    "an epoch more": spoilt(lambda record: record["history"].append({"epoch": 1})),
    "another loss": spoilt(lambda record: record["history"][0].update(loss=0.5)),
    "a loss that is NaN": spoilt(lambda record: record["history"][0].update(loss=float("nan"))),
    "no recipe": spoilt(lambda record: record.pop("recipe")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_record_that_was_changed_is_refused(tmp_path, case):
    one_epoch(tmp_path)
    path = tmp_path / checkpoints.FILE
    with safe_open(path, "pt") as file:
        about = file.metadata()
    save_file(load_file(path), path, BROKEN[case](about))
    with pytest.raises(ll.InvalidInput, match=f"another checksum.*remove {tmp_path}"):
        one_epoch(tmp_path)
    checkpoints.remove(tmp_path)  # the next step that the message names
    assert len(one_epoch(tmp_path)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {key: value for key, value in tensors.items() if key != "weights.0.bias"},
        lambda tensors: {key.replace("weights.0.bias", "weights.0.base"): value for key, value in tensors.items()},
        lambda tensors: tensors | {"weights.0.bias": tensors["weights.0.bias"] + 1e-15},
        lambda tensors: tensors | {"weights.0.bias": tensors["weights.0.bias"][None]},
    ],
)
def test_tensors_that_were_changed_are_refused(tmp_path, change):
    one_epoch(tmp_path)
    path = tmp_path / checkpoints.FILE
    with safe_open(path, "pt") as file:
        about = file.metadata()
    save_file(change(load_file(path)), path, about)
    with pytest.raises(ll.InvalidInput, match="another checksum"):
        one_epoch(tmp_path)


def test_tensors_of_another_run_are_refused(tmp_path):
    one_epoch(tmp_path)
    record, whole = checkpoints.read(tmp_path, {})
    for name in ("weights.0.bias", "random.torch", "optimizer.0.step"):
        less = {key: value for key, value in whole.items() if key != name}
        checkpoints.write(tmp_path, record, {}, less)
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
        assert (tmp_path / checkpoints.FILE).exists()
    checkpoints.remove(tmp_path)
    assert not tmp_path.exists()
    checkpoints.remove(tmp_path)


def test_a_folder_that_is_a_file_is_said_before_the_run(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ll.InvalidInput, match="which is a file"):
            one_epoch(place)
    assert (tmp_path / "file").read_text() == "mine"
