"""The domain of the global bound."""

from __future__ import annotations

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.nets.linear import LinearMap
from lliptools.norms.kinds import errs


@errs("upper", encloses=True)
class Unknown(Domain):
    """Nothing is known: every unit may be anything, and no unit is masked."""

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> Unknown:
        return cls()

    def linear(self, linear: LinearMap) -> Unknown:
        return self

    def box(self, center: Center) -> Box:
        return Box(torch.full_like(center.value, -torch.inf), torch.full_like(center.value, torch.inf))

    def after(self, block: BlockBound, radius: Tensor) -> Unknown:
        return self

    def add(self, earlier: Unknown) -> Unknown:
        return self
