"""Pictures made beforehand: the bundle gives every figure back, and an explorer hands its slider to the browser."""

import asyncio
import zlib
from math import nan

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from pictures import came_back, differences, unpack

import lliptools as ll
from lliptools.teach.explorers.neurons.widget import NeuronExplorer
from lliptools.teach.shared import explorer as base
from lliptools.teach.shared.controls import choice, slider
from lliptools.teach.shared.explorer import Explorer
from lliptools.teach.shared.style import LAYOUT
from lliptools.teach.shared.transport import pack, parts


def figure(t, a=1, b=0, texts=2):
    ys = np.array([t, nan, t * a])
    marker = {"color": ["#000000", "#FFFFFF"][int(t > 0.5)], "size": np.array([1, 2, int(10 * t)])}
    layout = {"annotations": [{"text": f"t = {t:.2f}, a = {a}, b = {b}"}, {"text": " "}][:texts], "height": 300}
    if t > 0.5:
        marker["line"] = {"width": 2}  # what is not in all pictures
    return go.Figure(
        [
            {"type": "scatter", "x": [1, 2, 3], "y": ys, "marker": marker},
            {"type": "heatmap", "z": np.arange(6, dtype=np.uint8).reshape(2, 3) + int(10 * t)},
            {"type": "bar", "x": ["p", "q"], "y": [a, 2.5]},
        ],
        {**LAYOUT, **layout},
    )


class Small(Explorer):
    """One framed slider, one beside it, and one to choose."""

    framed = "t"

    def __init__(self):
        row = {
            "t": slider("t in units", "a number", 0.0, 1.0, 0.125, 0.0),
            "a": slider("a in units", "another", 1, 5, 1, 1),
            "b": choice("b", "a choice", [("zero", 0), ("one", 1)], 0),
        }
        super().__init__([row], "")

    def _show(self, at, coarse):
        t, a, b = at["t"], at["a"], at["b"]
        return None, lambda: figure(t, a, b), (f"t = {t} & a = {a}", f"b = {b}")


def sent(explorer, monkeypatch):
    """What goes to the browser of a figure: by message, values at places."""
    messages = []

    def keep(_, buffers):
        head = unpack(zlib.compress(buffers[0]))
        messages.append({(each["trace"], each["path"]): each["values"][0] for each in head["properties"]})

    monkeypatch.setattr(explorer.screen, "send", keep)
    return messages


@pytest.fixture
def at_once(monkeypatch):
    """No waiting for the hand to rest."""
    monkeypatch.setattr(base, "QUIET", 0.0)
    monkeypatch.setattr(base, "DELAY", 0.0)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def test_every_picture_comes_back():
    ts = np.arange(11) / 10
    pictures = [parts(figure(t)) for t in ts]
    head = unpack(pack(pictures, [f"é {t}" for t in ts], ts.tolist(), keys=["value"], given=[1]))
    assert head["texts"][3] == f"é {ts[3]}"
    assert head["positions"] == ts.tolist()
    assert head["given"] == [1]
    moved = {(each["trace"], each["path"]) for each in head["properties"]}
    assert moved == {
        *((0, path) for path in ("y", "marker.color", "marker.size", "marker.line.width")),
        (1, "z"),
        (None, "annotations[0].text"),
    }
    for each in head["properties"]:
        assert len(each["values"]) == len({str(value) for value in each["values"]})  # each once
        for picture, pick in zip(pictures, each["picks"], strict=True):
            assert came_back(each["values"][pick], picture.get((each["trace"], each["path"])))


def test_a_picture_with_other_traces_is_refused():
    one, other = figure(0.1), figure(0.2)
    other.add_scatter(x=[1], y=[2])
    with pytest.raises(ll.InvalidInput, match="the same traces"):
        pack([parts(one), parts(other)], ["", ""], [0, 1])
    with pytest.raises(ll.InvalidInput, match="number of texts"):
        pack([parts(one), parts(figure(0.2, texts=1))], ["", ""], [0, 1])


def test_the_browser_takes_over_and_gives_back(at_once, monkeypatch):
    async def hand():
        explorer = Small()
        assert not explorer.screen.ready
        await until(lambda: explorer.screen.ready)
        head = unpack(explorer.screen.bundle)
        assert head["positions"] == [k / 8 for k in range(9)]
        assert head["given"][1:] == [1, 0]
        assert head["texts"][8] == ["t = 1.0 & a = 1", "b = 0"]
        messages = sent(explorer, monkeypatch)
        # The browser's: nothing is sent, and the kernel follows in silence.
        explorer.t.value = 0.75
        assert "t=0.75" in explorer.call.value
        assert "t = 0.75" in explorer.summary
        await until(lambda: explorer.figure.layout.annotations[0].text == "t = 0.75, a = 1, b = 0")
        assert explorer.figure.data[0].marker.line.width == 2
        assert not messages
        # Another control: the kernel's again, and all that the browser may have changed is told.
        explorer.a.value = 2
        assert not explorer.screen.ready
        last = messages[-1]
        assert set(last) == {
            *((0, path) for path in ("y", "marker.color", "marker.size", "marker.line.width")),
            *((1, "z"), (2, "y"), (None, "annotations[0].text")),  # the bars depend on a
        }
        assert last[0, "marker.color"] == "#FFFFFF"  # the same as before, and told
        assert last[None, "annotations[0].text"] == "t = 0.75, a = 2, b = 0"
        # The next bundle is for the new view, and back to the old one its pictures are not taken for true.
        count = len(messages)
        await until(lambda: explorer.screen.ready)
        assert unpack(explorer.screen.bundle)["given"][1:] == [2, 0]
        explorer.t.value = 0.25
        assert len(messages) == count
        explorer.b.value = 1
        assert not explorer.screen.ready
        assert len(messages) > count
        assert explorer.figure.layout.annotations[0].text == "t = 0.25, a = 2, b = 1"
        # There and back, in one breath: the browser has dropped its pictures, so the kernel draws.
        await until(lambda: explorer.screen.ready)
        with explorer.held():
            explorer.t.value, explorer.b.value = 0.5, 0
            explorer.b.value = 1
        assert not explorer.screen.ready
        assert messages[-1][None, "annotations[0].text"] == "t = 0.50, a = 2, b = 1"
        # The same pictures as those that it has dropped are sent once more.
        assert explorer.screen.bundle == b""
        await until(lambda: explorer.screen.ready)
        assert unpack(explorer.screen.bundle)["given"][1:] == [2, 1]

    asyncio.run(hand())


def test_moves_while_pictures_are_made(at_once, monkeypatch):
    """A move of the framed slider goes on with what is made, one of another control begins anew."""

    async def hand():
        explorer = Small()
        await until(lambda: len(explorer.screen._pictures) >= 3)
        explorer.t.value = 0.5
        assert len(explorer.screen._pictures) >= 3
        explorer.a.value = 3
        await until(lambda: explorer.screen.ready)
        texts = unpack(explorer.screen.bundle)["texts"]
        assert len(texts) == 9
        assert all("a = 3" in " ".join(text) for text in texts)

    asyncio.run(hand())


def test_without_a_kernel_nothing_is_made():
    explorer = Small()
    explorer.t.value = 0.75
    assert explorer.figure.layout.annotations[0].text == "t = 0.75, a = 1, b = 0"
    assert not explorer.screen.ready
    assert explorer.screen.bundle == b""


@pytest.mark.slow
def test_a_point_and_then_the_slider_quickly(at_once, monkeypatch):
    """A convolutional network, coarse first, then fine, then framed: at rest all three say the same as a fresh one."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 2, 3), ll.nets.ClippedReLU(0.3), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    ).double()
    x, y = torch.rand(5, 1, 8, 8).double(), torch.tensor([0, 1, 2, 0, 1])
    looks = []

    async def hand():
        explorer = NeuronExplorer(net, x, y, eps_max=1.0)
        monkeypatch.setattr(explorer, "_first_look", lambda *what: looks.append(what) or look(explorer, *what))
        await until(lambda: explorer.screen.ready)
        explorer.point.value = 3
        explorer.eps.value = 0.4
        await asyncio.sleep(0)
        explorer.point.value = 4
        explorer.eps.value = 0.7
        await until(lambda: explorer.screen.ready)
        explorer.eps.value = 0.6
        assert "ε = 0.6 ·" in explorer.summary  # at once, though nothing is drawn here yet
        explorer.eps.value = 0.9
        await until(lambda: "ε = 0.9:" in str(explorer.figure.layout.annotations))
        fresh = NeuronExplorer(net, x, y, index=4, eps=0.9, eps_max=1.0)
        assert explorer.summary == fresh.summary
        assert not differences(explorer.figure, fresh.figure)
        head, shown = unpack(explorer.screen.bundle), parts(fresh.figure)
        k = int(np.argmin(np.abs(np.array(head["positions"]) - 0.9)))
        assert head["given"][1:] == [4, 1.0, 1]
        assert head["texts"][k] == fresh.summary.split("\n")
        for each in head["properties"]:
            assert came_back(each["values"][each["picks"][k]], shown.get((each["trace"], each["path"])))

    look = NeuronExplorer._first_look
    asyncio.run(hand())
    assert looks  # coarse pictures were drawn on the way
