from dataclasses import replace
from functools import partial

import torch

import lliptools as ll
from lliptools.teach.explorers.training.figure import training


def test_curves_of_a_run_that_is_watched():
    """After every epoch the callback draws what there is; a run without a validation part has one curve less."""
    recipe = replace(
        ll.training.recipe("moons"), network=partial(ll.nets.mlp, 2, 8, 2), epochs=3, hold_out=200, radii=(0.05,)
    )
    drawn = []
    torch.manual_seed(0)
    run = partial(ll.training.fit, recipe.network().double(), ll.training.moons())
    history = run(recipe, callback=lambda so_far: drawn.append(training(so_far)))
    assert [len(figure.data[0].x) for figure in drawn] == [1, 2, 3]
    names = [curve.name for curve in drawn[-1].data[1:4]]
    assert names == ["clean, training batches", "clean, held out", "certified, held out"]
    assert list(drawn[-1].data[3].y) == history["validation_certified"]
    plain = training(run(replace(recipe, hold_out=0)))
    assert [curve.name for curve in plain.data[1:4] if len(curve.x)] == ["clean, training batches"]
    assert [curve.name for curve in plain.data[1:] if curve.showlegend] == ["clean, training batches"]
    nothing = training(ll.training.History("nothing yet", history.net), epochs=7)
    assert [len(curve.x) for curve in nothing.data[:4]] == [0] * 4
    assert nothing.layout.xaxis.range == (0.5, 7.5)
