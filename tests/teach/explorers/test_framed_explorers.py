"""The explorers whose pictures are made beforehand: small bundles, and what the kernel would show."""

import pytest
from pictures import came_back, unpack

import lliptools as ll
from lliptools.teach.explorers.condition.widget import ConditionExplorer
from lliptools.teach.explorers.neurons.widget import NeuronExplorer
from lliptools.teach.explorers.norms.widget import NormExplorer
from lliptools.teach.explorers.products.widget import ProductExplorer
from lliptools.teach.shared.transport import pack, parts

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "index"), [("digits-clipped", 3), ("digits-clipped", 15), ("moons", 7)])
def test_neurons_fit_in_a_small_bundle(name, index):
    data = ll.training.recipe(name).data()
    explorer = NeuronExplorer(ll.nets.load(name), data.x_test, data.y_test, index=index, eps_max=0.4)
    shown = [parts(drawn) for drawn, _ in explorer._frames()]
    bundle = pack(shown, [""] * len(shown), explorer.screen.positions)
    assert len(bundle) < 3_000_000
    for each in unpack(bundle)["properties"]:
        for k in (0, 25, 100):
            assert came_back(each["values"][each["picks"][k]], shown[k].get((each["trace"], each["path"])))


FRAMED = {
    "neurons": lambda: NeuronExplorer(ll.nets.load("moons"), *moons_points(), eps_max=0.4),
    "norms": lambda: NormExplorer(angle=70),
    "norms of a matrix": lambda: NormExplorer(ll.nets.load("digits-clipped")[2].weight, start=3),
    "products": lambda: ProductExplorer(ll.nets.fold(2, 8)),
    "condition": lambda: ConditionExplorer(matrix="eight columns"),
}


def moons_points():
    moons = ll.training.moons()
    return moons.x_test, moons.y_test


@pytest.mark.parametrize("make", FRAMED.values(), ids=list(FRAMED))
def test_frames_are_what_the_kernel_shows(make):
    """At every position figure and words are those of the slider there: the browser may show no other."""
    explorer = make()
    slider, positions = explorer.controls[explorer.framed], explorer.screen.positions
    frames = list(explorer._frames())
    assert len(frames) == len(positions) > 8
    for k in (0, 1, len(frames) // 2, len(frames) - 2, len(frames) - 1):
        slider.value = positions[k]
        drawn, said = frames[k]
        assert said == explorer._summary()
        one, other = parts(drawn), parts(explorer._figure(coarse=False))
        assert one.keys() == other.keys()
        assert all(came_back(value, other[place]) for place, value in one.items())
