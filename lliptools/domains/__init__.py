"""What is known of the units at one place of the network: domains, which combine by `&`."""

from lliptools.domains.ball import Ball
from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain, Intersection, Start
from lliptools.domains.interval import Interval
from lliptools.domains.light import Light
from lliptools.domains.slopes import Slopes
from lliptools.domains.unknown import Unknown
from lliptools.domains.zonotope import Zonotope

__all__ = [
    "Ball",
    "BlockBound",
    "Box",
    "Center",
    "Domain",
    "Intersection",
    "Interval",
    "Light",
    "Slopes",
    "Start",
    "Unknown",
    "Zonotope",
]
