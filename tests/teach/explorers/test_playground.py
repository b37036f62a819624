"""The Playground without a browser: what is certified, that a run is the same again, and what the page is told."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import lliptools as ll
from lliptools.teach.explorers.playground import widget
from lliptools.teach.explorers.playground.figure import beginning, frame, palette
from lliptools.teach.explorers.playground.points import SHAPES, points
from lliptools.teach.explorers.playground.view import ACTIVATIONS, BOUNDS, Run, Settings, percent
from lliptools.teach.explorers.playground.widget import Playground
from lliptools.teach.shared.units import ON

SMALL = {"hidden": (8, 6), "points": 40, "eps": 0.2, "rate": 0.03}


def trained(epochs=6, changes=None, **given):
    run = Run(Settings(**{**SMALL, **given}), changes=changes or {})
    for _ in range(epochs):
        run.epoch()
    return run


def same(one, other):
    assert one.curves == other.curves
    assert one.state.keys() == other.state.keys()
    assert all(torch.equal(value, other.state[name]) for name, value in one.state.items())
    assert torch.equal(one.states, other.states)
    for name in ("local", "centred", "discs"):  # beside balls of another radius a norm may be rounded otherwise
        assert torch.allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bound", BOUNDS)
def test_discs_and_shares_are_what_the_engine_certifies(activation, bound):
    run = trained(activation=activation, bound=bound, sparsity=0.1)
    last, (by_global, by_local) = run.epochs[-1], run.epochs[-1].discs
    assert (by_local >= by_global).all()
    assert (by_local >= 0.2).double().mean() == last.curves[3]  # the discs that are green are the share that is said
    assert (by_global >= 0.2).double().mean() == last.curves[2]
    assert ((by_local > 0) == (run.net(run.x).argmax(dim=1) == run.y)).all()
    for discs, engine in ((by_global, ll.global_bound), (by_local, ll.local_bound)):
        some = discs > 0
        found = ll.certify(run.net, run.x[some], run.y[some], discs[some] * (1 - 1e-9), bound=engine, centred=False)
        assert found.holds.all()
    at_eps = ll.certify(run.net, run.x, run.y, 0.2, centred=False)
    assert last.curves[3] == at_eps.holds.double().mean()
    assert torch.allclose(last.local, at_eps.bound.value, rtol=1e-12)
    from_centre = ll.local_bound(run.net, run.x, 0.2, centred=True).value
    assert torch.allclose(last.centred, from_centre, rtol=1e-9)
    assert (last.centred <= last.local * (1 + 1e-9)).all()
    varying = torch.cat([block.slope for block in at_eps.bound.blocks[:-1]], dim=1) > 0
    assert torch.equal(last.states >= ON, varying)
    step = normalize(torch.randn(500, *run.x.shape, dtype=torch.float64), dim=2) * by_local[:, None]
    right = run.net((run.x + step).flatten(0, 1)).argmax(dim=1).view(500, -1) == run.y
    assert (right | (by_local == 0)).all()


def test_a_share_is_never_more_than_it_is():
    assert [percent(k / 200) for k in (0, 58, 114, 199, 200)] == ["0 %", "29 %", "57 %", "99 %", "100 %"]


def test_discs_close_in_on_the_certified_radius():
    run = trained(40)
    radius = ll.certified_radius(run.net, run.x, run.y, centred=False)
    found = run.epochs[-1].discs[1]
    assert (found <= radius * (1 + 1e-6)).all()
    assert found.sum() > 0.85 * radius.clamp(max=10).sum()


def test_the_same_settings_are_the_same_run():
    one, other = trained(seed=3), trained(seed=3)
    for first, second in zip(one.epochs, other.epochs, strict=True):
        same(first, second)
    assert not torch.equal(one.epochs[-1].local, trained(seed=4).epochs[-1].local)


def test_settings_that_change_on_the_way():
    run = trained(3, bound="none")
    run.change(bound="local", eps=0.1)
    assert run.epochs[-1].eps == 0.1
    run.epoch()
    run.change(rate=0.01)
    run.epoch()
    again = trained(5, bound="none", changes=run.changes)
    assert run.changes == {3: {"bound": "local", "eps": 0.1}, 4: {"rate": 0.01}}
    for first, second in zip(run.epochs, again.epochs, strict=True):
        same(first, second)


def test_a_run_that_leaves_the_numbers_stays_where_it_was():
    run = trained(1)
    run._optimizer.param_groups[0]["params"][0].data.fill_(torch.nan)
    with pytest.raises((FloatingPointError, ll.InvalidInput)):
        run.epoch()
    assert len(run.epochs) == 2


@pytest.mark.parametrize("name", SHAPES)
def test_points(name):
    x, y = points(name, 200, seed=1)
    assert (x.dtype, x.shape, y.bincount().tolist()) == (torch.float64, (200, 2), [100, 100])
    assert x.abs().max() < 1.9
    assert torch.equal(x, points(name, 200, seed=1)[0])


@pytest.mark.parametrize(
    "given",
    [
        {"data": "stars"},
        {"data": ((0.0, 0.0, 2),)},
        {"hidden": ()},
        {"hidden": (3,), "activation": "maxmin"},
        {"activation": "sine"},
        {"bound": "tight"},
        {"eps": -1},
        {"rate": float("nan")},
        {"points": 0},
    ],
)
def test_settings_that_do_not_fit_are_refused(given):
    with pytest.raises(ll.InvalidInput, match=next(iter(given))):
        Playground(**given)


def test_a_frame_holds_the_epoch():
    run = trained(2)
    last, count = run.epochs[-1], len(run.x)
    told, (x, y) = beginning(run)
    assert told == {"sizes": [2, 8, 6, 2], "activation": "clipped_relu"}
    assert np.allclose(np.frombuffer(x, np.float32).reshape(-1, 2), run.x)
    assert list(y) == run.y.tolist()
    head, numbers = frame(last)
    parameters, local, centred, discs = np.split(
        np.frombuffer(numbers[: -last.states.numel()], np.float32), np.cumsum([head["count"], count, count])
    )
    assert (centred >= last.centred.numpy()).all()
    assert len(parameters) == sum(value.numel() for value in run.net.state_dict().values())
    assert (local >= last.local.numpy()).all()
    flat = replace(last, local=torch.zeros_like(last.local))
    assert not np.frombuffer(frame(flat)[1], np.float32, count, 4 * head["count"]).any()  # 0 is a float32 itself
    assert head["eps"] == np.nextafter(np.float32(0.2), np.float32(0))  # green is told by float32 too
    assert (discs <= last.discs.flatten().numpy()).all()
    assert np.allclose(discs, last.discs.flatten())
    assert list(numbers[-last.states.numel() :]) == last.states.flatten().tolist()
    assert head["words"] == last.words()
    assert all(light.keys() == dark.keys() for light, dark in [palette()])


def told(shown, monkeypatch):
    messages = []
    monkeypatch.setattr(shown, "send", lambda message, buffers: messages.append(message))
    return messages


def test_what_the_page_asks_for(monkeypatch):
    shown = Playground(**SMALL)
    messages = told(shown, monkeypatch)
    shown._answer(None, {"do": "step"}, [])
    shown._answer(None, {"do": "tell"}, [])
    assert [message["frame"]["number"] for message in messages if "frame" in message] == [1, 0, 1]
    shown._answer(None, {"set": {"bound": "global"}}, [])
    assert (shown.settings["bound"], len(shown.run.epochs), shown.run.changes) == (
        "global",
        2,
        {1: {"bound": "global"}},
    )
    shown._answer(None, {"set": {"hidden": [4, 4]}}, [])
    assert (shown.run.settings.hidden, shown.run.settings.bound, len(shown.run.epochs)) == ((4, 4), "global", 1)
    shown._answer(None, {"set": {"data": []}}, [])
    assert "Epoch 0: 0 % right" in shown.epoch.words()
    shown._answer(None, {"do": "step"}, [])
    for point in ([0.5, 0.5, 0], [-0.5, 0.25, 1]):
        shown._answer(None, {"draw": point}, [])
    shown._answer(None, {"do": "step"}, [])
    assert "data=((0.5, 0.5, 0), (-0.5, 0.25, 1))" in shown.call
    assert shown.run.y.tolist() == [0, 1]
    shown._answer(None, {"set": {"data": "moons"}}, [])
    shown._answer(None, {"draw": [0, 0, 1]}, [])  # from a page that has not heard of it
    assert shown.run.settings.data == "moons"


def test_its_call_opens_the_same_view():
    shown = Playground(**SMALL, epochs=2, point=5)
    shown.change(eps=0.1)
    shown.step()
    again = eval(shown.reproduce(), {"ll": ll})
    assert shown.reproduce() == again.reproduce() == shown.call
    same(shown.epoch, again.epoch)
    assert repr(Playground()) == "ll.teach.Playground()"


def test_it_pauses_where_no_page_paints(monkeypatch):
    monkeypatch.setattr(widget, "PATIENCE", 0.05)

    async def hand():
        shown = Playground(**SMALL)
        shown.play()
        async with asyncio.timeout(60):
            while shown.playing:
                await asyncio.sleep(0.01)
        assert len(shown.run.epochs) == 3
        shown.play()
        shown.close()
        await asyncio.sleep(0.1)
        assert len(shown.run.epochs) == 3

    asyncio.run(hand())


def test_play_and_pause_lose_nothing():
    async def hand():
        shown = Playground(**SMALL)
        shown.play()
        assert shown.playing
        async with asyncio.timeout(60):
            while len(shown.run.epochs) < 3:
                await asyncio.sleep(0.01)
                shown._answer(None, {"painted": len(shown.run.epochs) - 1}, [])
        shown.pause()
        count = len(shown.run.epochs)
        await asyncio.sleep(0.1)
        assert len(shown.run.epochs) == count
        for _ in range(2):
            shown.step()
        straight = trained(count + 1, bound="local")
        for first, second in zip(shown.run.epochs, straight.epochs, strict=True):
            same(first, second)

    asyncio.run(hand())
