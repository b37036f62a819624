"""A run that is watched, without a browser: it grows, it stops, it fails with words, and it can be begun again."""

import asyncio
from dataclasses import replace
from functools import partial
from threading import Thread

import pytest
import torch
from said import move, press

import lliptools as ll
from lliptools.teach.explorers.training import view as module
from lliptools.teach.explorers.training.widget import TrainingExplorer

SHORT = replace(
    ll.training.recipe("moons"), network=partial(ll.nets.mlp, 2, 8, 2), radii=(0.05,), epochs=5, name="short"
)


def curves(explorer):
    return [len(trace.x) for trace in explorer.figure.data[:4]]


def idle(explorer):
    return (explorer.begin.disabled, explorer.halt.disabled, explorer.seed.disabled) == (False, True, False)


def in_a_kernel(use):
    """Run a coroutine function as a cell does, with an event loop."""
    return asyncio.run(asyncio.wait_for(use(), 60))


async def ended(explorer):
    while explorer.running:
        await asyncio.sleep(0.002)
    explorer._thread.join()
    await asyncio.sleep(0)  # what the thread has asked for last
    await asyncio.sleep(0)


def test_where_it_trains_is_said_and_asked_for():
    here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    explorer = TrainingExplorer(SHORT)
    assert f"trains on {here}" in explorer.summary
    assert "device" not in explorer.reproduce()
    explorer.begin.click()
    assert f"done · on {here}" in explorer.summary
    assert next(explorer.net.parameters()).device == here
    assert "device='cpu'" in TrainingExplorer(SHORT, device="cpu").reproduce()
    with pytest.raises(ll.InvalidInput, match="device"):
        TrainingExplorer(SHORT, device="nonsense")


def test_a_run_to_the_end():
    explorer = TrainingExplorer(SHORT)
    assert "press start" in explorer.summary
    assert idle(explorer)
    explorer.begin.click()
    assert "short: epoch 5 of 5 · done" in explorer.summary
    assert curves(explorer) == [5] * 4
    assert list(explorer.figure.data[3].y) == explorer.history["validation_certified"]
    assert (explorer.progress.value, explorer.progress.max) == (5, 5)
    assert idle(explorer)
    assert explorer.net is explorer.history.net
    held = ll.training.moons().hold_out(80)
    right = (explorer.net(held.x_validation).argmax(dim=1) == held.y_validation).double().mean().item()
    assert right == pytest.approx(explorer.history["validation_clean"][-1])


def test_it_trains_what_fit_trains():
    explorer = TrainingExplorer(SHORT, seed=3)
    before = torch.get_rng_state()
    explorer.start()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    net = SHORT.network().to(SHORT.dtype)
    history = ll.training.fit(net, ll.training.moons(), replace(SHORT, hold_out=80), seed=3)
    assert explorer.history["loss"] == history["loss"]
    explorer.start()
    assert explorer.history["loss"] == history["loss"]  # fresh weights


def shown(epochs, seed):
    """What the controls of a recipe of one's own show."""
    return [{"value": epochs}, {"value": seed}, {"value": epochs}]


def test_a_run_takes_what_the_controls_show():
    """A press is sent at once, and what the controls have said before it may come later."""
    explorer = TrainingExplorer(SHORT)
    press(explorer.begin, shown(2, 3), second=2)
    assert "epoch 2 of 2 · done" in explorer.summary
    assert "epochs=2, seed=3" in explorer.reproduce()
    again = TrainingExplorer(SHORT, epochs=2, seed=3)
    again.start()
    assert explorer.history["loss"] == again.history["loss"]
    move(explorer.epochs, {"value": 4}, second=1)
    assert "epochs=2, seed=3" in explorer.reproduce()


def test_another_thread_does_not_change_a_run():
    """A control that moves while a run begins counts for the next."""
    others = []

    def data():
        others.append(Thread(target=move, args=(explorer.epochs, {"value": 4}), kwargs={"second": 3}))
        others[-1].start()
        others[-1].join(0.2)
        return ll.training.moons()

    explorer = TrainingExplorer(replace(SHORT, data=data))
    press(explorer.begin, shown(2, 3), second=2)
    assert "epoch 2 of 2 · done" in explorer.summary
    others[0].join()
    assert "epochs=4, seed=3" in explorer.reproduce()


def test_in_a_kernel_it_goes_on_beside_and_stops():
    async def use():
        explorer = TrainingExplorer(SHORT, epochs=200)
        explorer.begin.click()
        assert explorer.running
        assert (explorer.begin.disabled, explorer.halt.disabled, explorer.epochs.disabled) == (True, False, True)
        first = explorer._run
        explorer.start()  # a second start while it goes on
        assert explorer._run is first
        seen = set()
        while len(explorer.history) < 3:
            await asyncio.sleep(0.002)
            seen.add(curves(explorer)[0])
        explorer.halt.click()
        assert "stopping after this epoch" in explorer.summary or not explorer.running
        await ended(explorer)
        assert 3 <= len(explorer.history) < 200
        assert f"stopped after epoch {len(explorer.history)}" in explorer.summary
        assert curves(explorer) == [len(explorer.history)] * 4
        assert len(seen) > 1  # it grew while it was looked at
        assert idle(explorer)
        assert explorer.net(torch.zeros(1, 2).double()).isfinite().all()
        explorer.epochs.value = 2
        explorer.begin.click()
        await ended(explorer)
        assert "epoch 2 of 2 · done" in explorer.summary
        assert curves(explorer) == [2] * 4

    in_a_kernel(use)


def test_a_run_that_diverges_says_so():
    wild = replace(SHORT, learning_rate=1e300)

    async def use():
        explorer = TrainingExplorer(wild)
        explorer.begin.click()
        await ended(explorer)
        return explorer

    for explorer in (TrainingExplorer(wild), in_a_kernel(use)):
        explorer.start()
        assert "not a number: " in explorer.summary
        assert "smaller learning rate" in explorer.summary
        assert idle(explorer)
        explorer.reset.click()


def test_data_that_do_not_fit_or_are_not_here():
    digits = ll.training.digits()
    explorer = TrainingExplorer("moons", digits, epochs=2)
    explorer.start()
    assert "failed: " in explorer.summary
    assert idle(explorer)

    def nowhere():
        raise FileNotFoundError("no such folder")

    explorer = TrainingExplorer(replace(SHORT, data=nowhere))
    explorer.start()
    assert "failed: no such folder" in explorer.summary
    assert idle(explorer)
    assert explorer.progress.value == 0


def test_an_interrupt_ends_it(monkeypatch):
    """Where the run is in the main thread, as in a script, a kernel's interrupt arrives in it."""

    def interrupted(net, data, recipe, *, device, seed, callback):
        callback(ll.training.History(recipe.name, net, ({"epoch": 0, "loss": 1.0, "clean": 0.5},)))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", interrupted)
    explorer = TrainingExplorer(SHORT)
    explorer.start()
    assert "epoch 1 of 5 · interrupted in epoch 2" in explorer.summary
    assert idle(explorer)


def test_call_reproduces_the_view():
    explorer = TrainingExplorer("digits-0.5-sparse", epochs=3, seed=2)
    explorer.epochs.value = 1
    assert explorer.reproduce() == ("ll.teach.TrainingExplorer(recipe='digits-0.5-sparse', epochs=1, seed=2)")
    again = eval(explorer.reproduce(), {"ll": ll})
    explorer.start()
    again.start()
    assert again.summary == explorer.summary
    own = TrainingExplorer(SHORT, ll.training.moons(), source="mine, data")
    assert "TrainingExplorer(mine, data, epochs=5, seed=0, source='mine, data')" in own.reproduce()


def test_bad_input_is_refused():
    with pytest.raises(ll.InvalidInput, match="a recipe that does not exist"):
        TrainingExplorer("none")
    with pytest.raises(ll.InvalidInput, match=r"data as a training\.Split"):
        TrainingExplorer("moons", torch.zeros(3, 2))
    for start in ({"epochs": 0}, {"epochs": 10_000}, {"seed": -1}):
        with pytest.raises(ll.InvalidInput, match=f"{next(iter(start))} from"):
            TrainingExplorer("moons", **start)


def test_every_control_says_what_it_does():
    explorer = TrainingExplorer()
    for control in (*explorer.controls.values(), explorer.begin, explorer.halt, explorer.progress):
        assert control.description
        assert control.tooltip


def test_what_is_certified_is_counted_at_the_radius_that_is_trained_for():
    """And the shipped network stands beside it at that radius, with its twin of the global bound."""
    sparse = ll.training.recipe("digits-0.5-sparse")
    assert module.Run(sparse, None, 1, 0).recipe.radii == (0.5,)
    assert module.Run(SHORT, None, 1, 0).recipe.radii == (0.05,)
    rows = {row["eps"]: row["certified"] for row in ll.nets.provenance("digits-0.5-global")["held_out"]}
    assert module.reached(sparse)["global"] == rows[0.5]
    assert "global" not in module.reached(ll.training.recipe("digits-0.5-global"))
    figure = TrainingExplorer("digits-0.5-sparse").figure
    assert "certified, its twin with the global bound" in [text.text for text in figure.layout.annotations]


def test_every_epoch_that_is_done_can_be_looked_at():
    explorer = TrainingExplorer(SHORT)
    assert not explorer.figure.layout.meta
    explorer.begin.click()
    last = explorer.summary
    assert "after epoch 5 " in last
    explorer.shown.value = 2
    assert "after epoch 2 " in explorer.summary
    assert explorer.summary.startswith("Epoch 2 of 5, clean ")
    drawn = explorer.figure.layout.meta["weights"]
    assert drawn["shapes"] == [[8, 2], [2, 8]]
    near = explorer._run.near[1]
    assert list(drawn["states"]) == near.states.tolist()
    assert not torch.equal(near.matrices[0], explorer.net[0].weight.float())
    assert torch.equal(explorer._run.near[4].matrices[0], explorer.net[0].weight.float())
    x = explorer._run.data.x_test[:1].double()
    assert explorer._run.near[4].constant == ll.local_bound(explorer.net, x, 0.05).value.item()
    assert not explorer.shown.disabled
    explorer.reset.click()
    assert explorer.summary == last
