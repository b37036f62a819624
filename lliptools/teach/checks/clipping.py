"""The exercises of notebook 05 on masks: which units of a clipped activation are varying."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lliptools.nets import ClippedMaxMin, ClippedReLU
from lliptools.teach.checks.answers import ask
from lliptools.teach.checks.pictures import picture_of
from lliptools.teach.exercise import Exercise, Finding, show
from lliptools.teach.shared.pair import pair_of

__all__ = ["clipped_maxmin_mask", "relu_theta_mask"]

NAN = float("nan")


def _mask(value: Any) -> Tensor:
    """True and False, or 1 and 0; a NaN or anything between is no mask."""
    mask = torch.as_tensor(value).detach()
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError
    return mask.bool()


def _relu_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str | Finding]:
    for lower, upper, theta in _relu_cases(seed):
        described = f"lower = {show(lower)}, upper = {show(upper)}, theta = {show(theta)}"
        got = ask(function, described, lower, upper, theta, read=_mask, wanted="True or False a unit")
        if got.shape != lower.shape:
            yield f"on {described} expected a mask of shape {tuple(lower.shape)}; got {tuple(got.shape)}"
            continue
        unknown = ~(lower <= upper)
        truth = unknown | (lower.clamp(min=0).minimum(theta.relu()) < upper.clamp(min=0).minimum(theta.relu()))
        if (got == truth).all():
            yield ""
            continue
        unit = int((got != truth).nonzero()[0, 0])
        limit = theta.expand_as(lower)[unit].item()
        ends = f"[{lower[unit].item():.4g}, {upper[unit].item():.4g}], θ = {limit:.4g}"
        if unknown[unit]:
            yield f"unsound. The box of unit {unit} is {ends}: nothing is known of it, and you call it constant"
        elif truth[unit]:
            clipped = ClippedReLU(limit, learnable=False)
            z = torch.stack([lower[unit], upper[unit]]).clamp(-9, 9)  # a picture has no room for infinity
            pair = pair_of(clipped, f"constant, you say: θ = {limit:.4g}", z[:1], z[1:])
            yield Finding(
                f"unsound. On {described} you call unit {unit} constant, but its box is {ends}: its output is "
                f"{pair.f_x.item():.4g} at one end and {pair.f_other.item():.4g} at the other",
                picture_of(pair),
            )
        else:
            yield f"sound, but not the smallest mask. On {described} unit {unit} is constant: {ends}"


def _relu_cases(seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Boxes and thresholds: one unit each, boxes that touch a zone, no zone, no threshold, no box, then random ones."""
    for low, high, threshold in (
        *((-2.0, -1.0, 1.0), (2.0, 3.0, 1.0), (-1.0, 0.5, 1.0), (0.5, 2.0, 1.0), (0.25, 0.75, 1.0), (-1.0, 2.0, 1.0)),
        *((-1.0, 0.0, 1.0), (1.0, 2.0, 1.0), (-1.0, 2.0, 0.0), (1.0, 2.0, -1.0), (-2.0, 2.0, -1.0)),
        *((1.0, 9.0, torch.inf), (-9.0, -1.0, torch.inf), (-torch.inf, torch.inf, 1.0), (NAN, NAN, 1.0)),
    ):
        yield torch.tensor([low]).double(), torch.tensor([high]).double(), torch.tensor(threshold).double()
    generator = torch.Generator().manual_seed(seed)
    for units in (2, 5, 50):
        lower = torch.randn(units, generator=generator).double()
        upper = lower + torch.rand(units, generator=generator).double() + 0.01
        yield lower, upper, torch.rand(units, generator=generator).double()
        yield lower, upper, torch.tensor(0.5).double()


def _pair_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str | Finding]:
    for lower, upper, high, low in _pair_cases(seed):
        described = (
            f"lower = {show(lower)}, upper = {show(upper)}, theta_max = {show(high)}, theta_min = {show(low)}"
            if len(lower) <= 8
            else f"boxes of {len(lower)} units"
        )
        wanted = "(outputs, inputs), True or False a unit"
        got = ask(function, described, lower, upper, high, low, read=_two_masks, wanted=wanted)
        if any(mask.shape != lower.shape for mask in got):
            shapes = [tuple(mask.shape) for mask in got]
            yield f"on {described} expected two masks of shape {tuple(lower.shape)}; got {shapes}"
            continue
        unknown = ~(lower <= upper)
        larger, smaller = torch.maximum(*lower.chunk(2)), torch.minimum(*upper.chunk(2))
        outputs = torch.cat([~(larger >= high), ~(smaller <= low)]) | torch.cat(
            [torch.logical_or(*unknown.chunk(2))] * 2
        )
        inputs = torch.cat([torch.logical_or(*outputs.chunk(2))] * 2)
        for name, mine, truth in (("outputs", got[0], outputs), ("inputs", got[1], inputs)):
            if (mine != truth).any():
                unit = int((mine != truth).nonzero()[0, 0])
                yield _pair_fault(described, name, unit, bool(truth[unit]), lower, upper, high, low)
                break
        else:
            yield ""


def _pair_fault(
    described: str, name: str, unit: int, varies: bool, lower: Tensor, upper: Tensor, high: Tensor, low: Tensor
) -> str | Finding:
    pairs = len(lower) // 2
    both = torch.tensor([unit % pairs, unit % pairs + pairs])
    where = f"the pair of units {both.tolist()} with boxes " + " and ".join(
        f"[{lower[k].item():.4g}, {upper[k].item():.4g}]" for k in both.tolist()
    )
    if not varies:
        rest = "; an input is struck where both outputs of its pair are constant" if name == "inputs" else ""
        return f"sound, but not the smallest mask. On {described} {name}[{unit}] is constant: {where}{rest}"
    if not (lower[both] <= upper[both]).all():
        return f"unsound. On {described} you call {name}[{unit}] constant; nothing is known of {where}"
    limits = (torch.broadcast_to(limit, (pairs,))[unit % pairs] for limit in (high, low))
    activation = ClippedMaxMin(*limits, learnable=False)
    moved = torch.ones(2, dtype=torch.bool) if name == "outputs" else both == unit
    found = []
    for rest in torch.linspace(0, 1, 41).double():  # where the input that is not struck stands still
        still = torch.lerp(lower[both], upper[both], rest)
        ends = (torch.where(moved, side[both], still) for side in (lower, upper))
        claim = f"you call {name}[{unit}] constant"
        found.append(pair_of(lambda z: activation(z[None])[0], claim, *ends))
    pair = max(found, key=lambda pair: pair.change)
    if not pair.change:
        return f"on {described} the other input of inputs[{unit}] changes an output: {where}; strike both or none"
    return Finding(
        f"unsound. On {described} you call {name}[{unit}] constant, but {where} can go from {show(pair.x)} to "
        f"{show(pair.other)}, and put out {show(pair.f_x)} and {show(pair.f_other)}",
        picture_of(pair),
    )


def _pair_cases(seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Boxes of pairs (a, b) and thresholds: one pair each, in whole and half numbers, no box, then random ones."""
    high, low = torch.tensor(1.0).double(), torch.tensor(-1.0).double()
    for a, b in (
        *(
            ((0.0, 0.5), (-0.5, 0.0)),
            ((2.0, 3.0), (-0.5, 0.5)),
            ((-0.5, 0.5), (-3.0, -2.0)),
            ((2.0, 3.0), (-3.0, -2.0)),
        ),
        *(((0.0, 3.0), (-3.0, 0.0)), ((1.0, 2.0), (-2.0, -1.0)), ((-3.0, -2.0), (2.0, 3.0)), ((2.0, 3.0), (2.5, 4.0))),
        *(((-3.0, 3.0), (2.0, 4.0)), ((NAN, NAN), (-3.0, -2.0)), ((2.0, 3.0), (NAN, NAN))),
    ):
        yield torch.tensor([a[0], b[0]]).double(), torch.tensor([a[1], b[1]]).double(), high, low
    generator = torch.Generator().manual_seed(seed)
    for pairs in (2, 3, 30):
        lower = torch.randn(2 * pairs, generator=generator).double()
        upper = lower + torch.rand(2 * pairs, generator=generator).double() + 0.01
        limits = torch.rand(2, pairs, generator=generator).double() / 2
        yield lower, upper, limits[0], -limits[1]
        yield lower, upper, high / 4, low / 4


def _two_masks(value: Any) -> tuple[Tensor, Tensor]:
    outputs, inputs = (_mask(mask) for mask in value)
    if not outputs.dim():
        raise ValueError
    return outputs, inputs


relu_theta_mask = Exercise(
    "relu_theta_mask",
    _relu_faults,
    (
        "min(max(z, 0), θ) is flat below 0 and above θ. When does all of [lower, upper] lie in one flat zone?",
        "Constant: upper <= 0, or lower >= theta; touching counts. And with θ <= 0 there is nothing between the zones.",
        "Ask for constant and negate it: a comparison with NaN is False, so an unknown box comes out varying. "
        "~((upper <= 0) | (lower >= theta) | (theta <= 0)).",
    ),
)
clipped_maxmin_mask = Exercise(
    "clipped_maxmin_mask",
    _pair_faults,
    (
        "a, b = z.chunk(2). max(a, b) is at least which number, when a and b move in their boxes? min(a, b) at most?",
        "The larger is at least max(lower_a, lower_b): constant where that reaches theta_max. And the smaller?",
        "outputs = torch.cat([~(max(lower_a, lower_b) >= theta_max), ~(min(upper_a, upper_b) <= theta_min)]); an input "
        "feeds both outputs of its pair: inputs = torch.cat([larger | smaller] * 2). torch.maximum keeps a NaN.",
    ),
)
