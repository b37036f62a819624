"""Every domain by itself, and what `&` makes of several: boxes contain what the units do on the ball."""

from dataclasses import dataclass

import pytest
import torch
from networks import NETWORKS, in_ball, points
from torch import nn

import lliptools as ll
from lliptools.domains import Ball, Box, Center, Domain, Intersection, Interval, Light, Slopes, Unknown, Zonotope
from lliptools.domains.center import at_center

DOMAINS = {
    **{each.__name__: each for each in (Interval, Ball, Slopes, Zonotope, Unknown, Light)},
    "Ball & Zonotope": Ball & Zonotope,
    "all": Interval & Ball & Slopes & Zonotope,
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", ["relu", "clipped maxmin", "tanh", "residual, clipped", "convolutional"])
def test_outputs_of_every_block_lie_in_its_box(name, domain):
    net = NETWORKS[name]().double()
    x = points(net, 2)
    for eps in (1e-3, 0.3):
        bound = ll.local_bound(net, x, eps, domain=DOMAINS[domain])
        blocks = ll.nets.read_blocks(net, x.shape[1:])
        for k, center in enumerate(x.double()):
            samples = in_ball(center, eps, 200, seed=k).flatten(1)
            found = at_center(blocks, Center(samples, torch.zeros_like(samples)))
            for block, outputs in zip(bound.blocks, found, strict=True):
                lower, upper = (side[k].flatten() for side in (block.output.lower, block.output.upper))
                room = 1e-9 * (1 + outputs.value.flatten(1).abs())
                assert (outputs.value.flatten(1) >= lower - room).all()
                assert (outputs.value.flatten(1) <= upper + room).all()


def test_an_intersection_lies_in_each_of_its_parts():
    net = NETWORKS["relu"]()
    x = points(net)
    both = ll.local_bound(net, x, 0.2, domain=Interval & Ball)
    for one in (Interval, Ball):
        alone = ll.local_bound(net, x, 0.2, domain=one)
        assert (both.value <= alone.value * (1 + 1e-12)).all()
    three = (Interval & Ball) & Slopes
    assert three.parts == (Interval & (Ball & Slopes)).parts == (Interval, Ball, Slopes)
    known = three.start(x.double(), torch.ones(len(x)).double())
    assert isinstance(known.part(Ball), Ball)
    assert known.part(Zonotope) is None


@pytest.mark.parametrize("name", ["relu", "clipped", "tanh"])
def test_nothing_known_masks_nothing(name):
    net = NETWORKS[name]()
    x = points(net)
    one, other = ll.local_bound(net, x, 0.1, domain=Unknown).value, ll.global_bound(net, x).value
    assert torch.allclose(one, other, rtol=1e-13, atol=0)


@dataclass(frozen=True, eq=False)
class Halved(Domain):
    """False: half of the IBP box. What does not say that it contains every value is an estimate."""

    inside: Interval

    @classmethod
    def start(cls, center, eps):
        return cls(Interval.start(center, eps))

    def linear(self, linear):
        return Halved(self.inside.linear(linear))

    def box(self, center):
        box = self.inside.box(center)
        return Box(box.lower / 2 + center.value / 2, box.upper / 2 + center.value / 2)

    def after(self, block, radius):
        return Halved(self.inside.after(block, radius))

    def add(self, earlier):
        return Halved(self.inside.add(earlier.inside))


@pytest.mark.parametrize("domain", [Halved, Interval & Halved])
def test_a_domain_without_its_mark_certifies_nothing(domain):
    net = NETWORKS["relu"]()
    x = points(net)
    found = ll.local_bound(net, x, 0.1, domain=domain)
    assert found.kind == "estimate"
    with pytest.raises(ll.InvalidInput, match="estimate"):
        ll.certify(net, x, net(x).argmax(dim=1), 0.1, bound=lambda *a: ll.local_bound(*a, domain=domain))


def test_a_domain_that_derives_from_a_marked_one_has_to_say_it_again():
    class Own(Interval):
        pass

    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    assert ll.local_bound(net, torch.zeros(1, 2), 0.1, domain=Own & Ball).kind == "estimate"


def test_what_a_domain_has_to_say():
    class Nothing(Domain):
        pass

    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(TypeError, match=r"abstract class Nothing .*add.*after.*box.*linear.*start"):
        ll.local_bound(net, torch.zeros(1, 2), 0.1, domain=Nothing & Ball)
    assert isinstance(Unknown() & Unknown(), Intersection)
