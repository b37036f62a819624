"""The exercises of notebook 05 on masks: which units of a clipped activation vary."""

from collections.abc import Iterator
from math import inf, nan
from typing import Any

import torch
from torch import Tensor

from lliptools.nets import ClippedMaxMin, ClippedReLU
from lliptools.teach.exercises.answers import ask, first
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show
from lliptools.teach.shared.pair import pair_of

__all__ = ["ClippedMaxminMask", "ReluThetaMask"]

Masks = tuple[Tensor, Tensor]


def _mask(value: Any) -> Tensor:
    """True and False, or 1 and 0; a NaN or anything between is no mask."""
    mask = torch.as_tensor(value).detach()
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError
    return mask.bool()


def _box(lower: Tensor, upper: Tensor, unit: int) -> str:
    return f"[{lower[unit].item():.4g}, {upper[unit].item():.4g}]"


class ReluThetaMask(Exercise):
    """relu_theta_mask(lower, upper, theta): which units of min(max(z, 0), theta) vary on their box, (units,) of bool.

    A unit whose box is NaN varies: nothing is known of it.
    """

    hints = (
        "min(max(z, 0), θ) is flat below 0 and above θ. When does all of [lower, upper] lie in one flat zone?",
        "Constant: upper <= 0, or lower >= theta; touching counts. And with θ <= 0 there is nothing between the zones.",
        "Ask for constant and negate it: a comparison with NaN is False, so an unknown box comes out varying. "
        "~((upper <= 0) | (lower >= theta) | (theta <= 0)).",
    )

    reference = staticmethod(lambda lower, upper, theta: ~((upper <= 0) | (lower >= theta) | (theta <= 0)))

    wrong = (
        (lambda *case: ~ReluThetaMask.reference(*case), "your mask is inverted"),
        (lambda lower, upper, theta: (upper > 0) & (lower < theta), "is constant: [-1, 2], θ = 0"),
        (lambda lower, upper, theta: (upper > 0) & (lower < theta) & (theta > 0), "nothing is known of it"),
        (lambda lower, upper, theta: ~(upper <= 0), "is constant: [2, 3], θ = 1"),
        (lambda lower, upper, theta: ~((upper < 0) | (lower > theta)), "is constant: [-1, 0], θ = 1"),
        (lambda lower, upper, theta: ~((lower <= 0) | (upper >= theta)), "0 at one end and 0.5 at the other"),
        (lambda *case: ReluThetaMask.reference(*case).double() / 2, "expected True or False"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        yield torch.tensor([-2, 0.25]).double(), torch.tensor([-1, 0.75]).double(), torch.tensor(1.0).double()
        lower = torch.tensor([-2, 2, -1, 0.5, 0.25, -1, -1, 1, -1, 1, -2, 1, -9, -inf, nan]).double()
        upper = torch.tensor([-1, 3, 0.5, 2, 0.75, 2, 0, 2, 2, 2, 2, 9, -1, inf, nan]).double()
        theta = torch.tensor([1, 1, 1, 1, 1, 1, 1, 1, 0, -1, -1, inf, inf, 1, 1]).double()
        yield from zip(lower[:, None], upper[:, None], theta, strict=True)
        for units in (2, 5, 50):
            lower = torch.randn(units).double()
            upper = lower + torch.rand(units).double() + 0.01
            yield lower, upper, torch.rand(units).double()
            yield lower, upper, torch.tensor(0.5).double()

    def check(self, answer: Answer, lower: Tensor, upper: Tensor, theta: Tensor) -> None:
        case, truth = self.described(lower, upper, theta), self.reference(lower, upper, theta)
        got = ask(answer, case, lower, upper, theta, read=_mask, wanted="True or False per unit")
        if got.shape != lower.shape:
            raise Wrong(f"on {case} expected a mask of shape {tuple(lower.shape)}; got {tuple(got.shape)}")
        if (got == truth).all():
            return
        if len(got) > 1 and (got == ~truth).all():
            raise Wrong(f"your mask is inverted: True is for a unit that varies. On {case} it is {truth.tolist()}")
        unit = first(got != truth)
        limit = theta.expand_as(lower)[unit].item()
        ends = f"{_box(lower, upper, unit)}, θ = {limit:.4g}"
        if not truth[unit]:
            raise Wrong(f"sound, but not the smallest mask. On {case} unit {unit} is constant: {ends}")
        if not lower[unit] <= upper[unit]:
            raise Wrong(f"unsound. The box of unit {unit} is {ends}: nothing is known of it, and you call it constant")
        z = torch.stack([lower[unit], upper[unit]]).clamp(-9, 9)  # a picture has no room for infinity
        clipped = ClippedReLU(limit, learnable=False)
        pair = pair_of(clipped, f"constant, you say: θ = {limit:.4g}", z[:1], z[1:])
        raise Wrong(
            f"unsound. On {case} you call unit {unit} constant, but its box is {ends}: its output is "
            f"{pair.f_x.item():.4g} at one end and {pair.f_other.item():.4g} at the other",
            pair,
        )


def _of_outputs(larger: Tensor, smaller: Tensor, *, both: Answer = torch.logical_or) -> Masks:
    """The masks that follow from which outputs vary."""
    return torch.cat([larger, smaller]), torch.cat([both(larger, smaller)] * 2)


def _larger(z: Tensor) -> Tensor:
    return torch.maximum(*z.chunk(2))


def _clipped(lower: Any, upper: Any, theta_max: Tensor, theta_min: Tensor) -> Masks:
    """The masks of pairs: lower and upper are those of the first and of the second unit of each."""
    return _of_outputs(~(torch.maximum(*lower) >= theta_max), ~(torch.minimum(*upper) <= theta_min))


class ClippedMaxminMask(Exercise):
    """clipped_maxmin_mask(lower, upper, theta_max, theta_min): which (outputs, inputs) vary, each (units,) of bool.

    Unit k and unit k + units/2 are a pair; its outputs are min(max(a, b), theta_max) and max(min(a, b), theta_min).
    """

    hints = (
        "a, b = z.chunk(2). max(a, b) is at least which number, when a and b move in their boxes? min(a, b) at most?",
        "The larger is at least max(lower_a, lower_b): constant where that reaches theta_max. And the smaller?",
        "outputs = torch.cat([~(max(lower_a, lower_b) >= theta_max), ~(min(upper_a, upper_b) <= theta_min)]); an input "
        "feeds both outputs of its pair: inputs = torch.cat([larger | smaller] * 2). torch.maximum keeps a NaN.",
    )

    @staticmethod
    def reference(lower: Tensor, upper: Tensor, theta_max: Tensor, theta_min: Tensor) -> Masks:
        return _clipped(lower.chunk(2), upper.chunk(2), theta_max, theta_min)

    wrong = (
        (lambda *case: (ClippedMaxminMask.reference(*case)[0],) * 2, "inputs["),
        # An input is masked as soon as one output of its pair is constant.
        (lambda *case: _of_outputs(*ClippedMaxminMask.reference(*case)[0].chunk(2), both=torch.logical_and), "inputs["),
        # Units 2k and 2k + 1 are taken for a pair.
        (lambda *case: _clipped(*(side.reshape(-1, 2).T for side in case[:2]), *case[2:]), "outputs["),
        (lambda lower, upper, *case: ClippedMaxminMask.reference(upper, lower, *case), "you call outputs[0] constant"),
        (lambda a, b, *ends: _of_outputs(_larger(a) < ends[0], -_larger(-b) > ends[1]), "nothing is known of"),
        (lambda a, b, high, low: _of_outputs(~(a.chunk(2)[0] >= high), ~(b.chunk(2)[1] <= low)), "is constant"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, ...]]:
        high, low = torch.tensor(1.0).double(), torch.tensor(-1.0).double()
        lower = torch.tensor(
            [[0, 2, -0.5, 2, 0, 1, -3, 2, -3, nan, 2], [-0.5, -0.5, -3, -3, -3, -2, 2, 2.5, 2, -3, nan]]
        )
        upper = torch.tensor([[0.5, 3, 0.5, 3, 3, 2, -2, 3, 3, nan, 3], [0, 0.5, -2, -2, 0, -1, 3, 4, 4, -2, nan]])
        yield from ((*box, high, low) for box in zip(lower.double().T, upper.double().T, strict=True))
        for pairs in (2, 3, 30):
            lower = torch.randn(2 * pairs).double()
            upper = lower + torch.rand(2 * pairs).double() + 0.01
            limits = torch.rand(2, pairs).double() / 2
            yield lower, upper, limits[0], -limits[1]
            yield lower, upper, high / 4, low / 4

    def check(self, answer: Answer, lower: Tensor, upper: Tensor, high: Tensor, low: Tensor) -> None:
        case, truth = self.described(lower, upper, high, low), self.reference(lower, upper, high, low)
        got = ask(answer, case, lower, upper, high, low, read=_two, wanted="(outputs, inputs), True or False per unit")
        if any(mask.shape != lower.shape for mask in got):
            shapes = [tuple(mask.shape) for mask in got]
            raise Wrong(f"on {case} expected two masks of shape {tuple(lower.shape)}; got {shapes}")
        for name, mine, varies in zip(("outputs", "inputs"), got, truth, strict=True):
            if (mine != varies).any():
                unit = first(mine != varies)
                k, pairs = unit % (len(lower) // 2), len(lower) // 2
                both = torch.tensor([k, k + pairs])
                where = f"the pair of units {both.tolist()} with boxes {_box(lower, upper, k)} and "
                where += _box(lower, upper, k + pairs)
                if not varies[unit]:
                    rest = "; an input is masked where both outputs of its pair are constant" * (name == "inputs")
                    said = f"{name}[{unit}] is constant: {where}{rest}"
                    raise Wrong(f"sound, but not the smallest mask. On {case} {said}")
                if not (lower[both] <= upper[both]).all():
                    said = f"you call {name}[{unit}] constant; nothing is known of {where}"
                    raise Wrong(f"unsound. On {case} {said}")
                limits = (torch.broadcast_to(limit, (pairs,))[k] for limit in (high, low))
                moved = torch.ones(2, dtype=torch.bool) if name == "outputs" else both == unit
                box = lower[both], upper[both]
                raise _moving(case, f"{name}[{unit}]", where, ClippedMaxMin(*limits, learnable=False), *box, moved)


def _moving(
    case: str, name: str, where: str, activation: ClippedMaxMin, lower: Tensor, upper: Tensor, moved: Tensor
) -> Wrong:
    """Two points of a pair's box with different outputs, which differ only where they are moved."""
    found = []
    for rest in torch.linspace(0, 1, 41).double():  # where the input that is not moved stands still
        ends = (torch.where(moved, side, torch.lerp(lower, upper, rest)) for side in (lower, upper))
        found.append(pair_of(lambda z: activation(z[None])[0], f"you call {name} constant", *ends))
    pair = max(found, key=lambda pair: pair.change)
    if not pair.change:
        return Wrong(f"on {case} the other input of {name} changes an output: {where}; mask both or none")
    return Wrong(
        f"unsound. On {case} you call {name} constant, but {where} can go from {show(pair.x)} to {show(pair.other)}, "
        f"and return {show(pair.f_x)} and {show(pair.f_other)}",
        pair,
    )


def _two(value: Any) -> Masks:
    outputs, inputs = (_mask(mask) for mask in value)
    if not outputs.dim():
        raise ValueError
    return outputs, inputs
