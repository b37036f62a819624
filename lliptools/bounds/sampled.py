"""The constant from below: the largest Jacobian norm, or secant from the centre, that a search finds in the ball."""

import torch
from torch import Tensor, nn

from lliptools.bounds.local import passed
from lliptools.bounds.reading import read
from lliptools.bounds.record import Bound
from lliptools.domains import Ball, Interval
from lliptools.domains.center import Center, at_center
from lliptools.errors import InvalidInput
from lliptools.nets import Block, check_input, forward
from lliptools.nets.calls import options_checked
from lliptools.nets.checks import check_finite_eps
from lliptools.nets.linear import TINY
from lliptools.norms.auto import UpperNorm
from lliptools.norms.rounding import gamma, outward_rounding
from lliptools.norms.scaled import length, unit_vectors

Blocks = tuple[Block, ...]
STARTS = 8  # of the best samples, from which the search climbs
PROBES = 4  # slopes beside each point, of whose sum the gradient is taken
SPREAD, STRIDE = 0.5, 0.4  # of the probes and of the first step, in units of eps
FEW_OUTPUTS = 16  # up to which the whole Jacobian is computed
ENTRIES = 2**22  # numbers in the points that are worked on together


@options_checked
@torch.inference_mode(False)
def sampled_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor,
    *,
    samples: int = 256,
    steps: int = 40,
    seed: int = 0,
    centred: bool = False,
) -> Bound:
    """Lower bound of the Lipschitz constant of net on the ball of radius eps around each point of a batch.

    The largest ‖J‖ at any point that a search has seen: random points of the ball, a climb from the best of them along
    slopes ‖f(a) − f(b)‖ / ‖a − b‖ (‖J‖ itself is constant region by region), then points around the best.

    - x: (batch, *sample). eps: a finite number or (batch,), in the units of x.
    - samples: random points, the same offsets around every point of the batch. steps: of the climb.
    - centred: the steepest secant ‖f(x') − f(x)‖ / ‖x' − x‖ that is seen instead, with the rounding of both outputs.
    - Returns a Bound of kind "lower", which certifies nothing; its blocks are those of the local bound, for comparison.
    - Raises UnsupportedLayer and InvalidInput.
    """
    if not (samples >= 1 and steps >= 0 and 0 <= seed < 2**63):
        got, why = f"{samples}, {steps} and {seed}", "a search of no point, or a seed of more than 63 bits"
        raise InvalidInput("at least one sample, steps >= 0, seed >= 0", got, why, "leave the defaults")
    center = check_input(net, x)
    radius = check_finite_eps(eps, center)
    blocks = read(net, x)
    with torch.no_grad():
        masks = passed(blocks, center, radius, Interval & Ball, UpperNorm(), centred=centred)
    search = _steepest if centred else _search
    together = max(1, ENTRIES // (max(samples, STARTS * PROBES * 2) * center[0].numel()))
    parts = zip(center.split(together), radius.split(together), strict=True)
    value = torch.cat([search(blocks, *part, samples, steps, seed) for part in parts])
    return Bound(value, "lower", radius, masks.blocks, between=masks.between)


def _steepest(blocks: Blocks, center: Tensor, radius: Tensor, samples: int, steps: int, seed: int) -> Tensor:
    """The steepest secants from the centre that are found: center (batch, features), radius (batch,) -> (batch,)."""
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (1, samples, center.shape[1])
    drawn = torch.randn(shape, generator=generator, dtype=center.dtype, device="cpu").to(center.device)
    length = torch.rand(1, samples, 1, generator=generator, dtype=center.dtype, device="cpu").to(center.device)
    length = torch.cat([length[:, ::2], length[:, 1::2] ** (1 / center.shape[1])], dim=1)  # near the centre, and far
    inside = (radius * (1 - 1e-10))[:, None, None]
    move = inside * length * drawn / drawn.norm(dim=2, keepdim=True)
    here = forward(blocks, center).detach().flatten(1)[:, None]
    best, climbing = move[:, :1], move
    for step in range(steps + 1):
        with torch.enable_grad():
            move = climbing.detach().requires_grad_(True)
            there = forward(blocks, (center[:, None] + move).flatten(0, 1)).flatten(1).view(*move.shape[:2], -1)
            secant = (there - here).norm(dim=2) / move.norm(dim=2).clamp_min(1e-300)
            (slope,) = torch.autograd.grad(secant.sum(), move)
        found = secant.detach().nan_to_num(nan=0.0, posinf=0.0)
        top = found.topk(min(STARTS, found.shape[1]), dim=1).indices[:, :, None].expand(-1, -1, center.shape[1])
        climbing, slope = move.detach().gather(1, top), slope.gather(1, top)
        best = torch.cat([best, climbing[:, :1]], dim=1)
        stride = STRIDE * (1 - step / (steps + 1)) * inside
        climbing = climbing + stride * unit_vectors(slope.flatten(0, 1)).view_as(slope)
        climbing = climbing * (inside / climbing.norm(dim=2, keepdim=True).clamp_min(1e-300)).clamp_max(1.0)
    return _secants(blocks, center, radius, center[:, None] + best).amax(dim=1)


@torch.no_grad()
@outward_rounding()
def _secants(blocks: Blocks, center: Tensor, radius: Tensor, points: Tensor) -> Tensor:
    """‖f(x') − f(x)‖ / ‖x' − x‖ from below: points (batch, count, features) -> (batch, count); 0 outside the ball."""
    ends = torch.cat([center[:, None], points], dim=1)
    outputs = at_center(blocks, Center.exact(ends.flatten(0, 1)))[-1]
    value, doubt = (part.flatten(1).view(*ends.shape[:2], -1) for part in (outputs.value, outputs.doubt))
    rise = length(value[:, 1:] - value[:, :1], dim=2) * (1 - 1e-12 - 4 * gamma(value.shape[2], value))
    rise = rise - length(doubt[:, 1:] + doubt[:, :1], dim=2)
    far = length(points - center[:, None], dim=2) * (1 + 1e-12)
    ordinary = torch.stack([rise, far, rise / far]).amin(dim=0) >= TINY  # below it digits are lost
    return torch.where(ordinary & (far <= radius[:, None]), rise / far, 0.0).nan_to_num(nan=0.0, posinf=0.0)


def _search(blocks: Blocks, center: Tensor, radius: Tensor, samples: int, steps: int, seed: int) -> Tensor:
    """The largest norms found: center (batch, features), radius (batch,) -> (batch,)."""
    generator = torch.Generator("cpu").manual_seed(seed)  # of the CPU: the same samples on every device
    batch, features = center.shape
    aside = torch.maximum(1e-10 * radius, 1e-12 * center.abs().amax(dim=1).clamp_min(1e-100))[:, None, None]
    inside = (radius[:, None, None] * (1 - 1e-10) - aside).clamp_min(0.0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=center.dtype, device="cpu").to(center.device)

    def draw(count: int) -> Tensor:
        """Directions, the same for every point of the batch: (1, count, features)."""
        shape = (1, count, features)
        direction = torch.randn(shape, generator=generator, dtype=center.dtype, device="cpu").to(center.device)
        return direction / direction.norm(dim=2, keepdim=True)

    def look(offset: Tensor) -> tuple[Tensor, Tensor]:
        """Norms (batch, count) and singular vectors (batch, count, features) at offsets in units of the radius."""
        norm, vector = _largest(blocks, (center[:, None] + inside * offset).flatten(0, 1))
        return norm.view(batch, -1), vector.view(offset.shape)

    length = uniform(1, samples, 1) ** (1 / features)
    offset = (draw(samples) * length).expand(batch, -1, -1)
    norm, vector = look(offset)
    norm, best = norm.topk(min(STARTS, samples), dim=1)
    offset, vector = (part.gather(1, best[:, :, None].expand(-1, -1, features)) for part in (offset, vector))
    highest, top, count = norm, offset, offset.shape[1]
    for step in range(2 * steps):
        if step < steps:  # climb
            left = 1 - step / steps
            apart = SPREAD * left * inside
            scattered = 2 * apart[:, None] * draw(PROBES * count).view(1, PROBES, -1, features)
            gradient = _slope_gradient(blocks, center[:, None] + inside * offset, scattered, apart * vector)
            offset = offset + STRIDE * left * gradient
        else:  # look around the best
            offset = top + 0.01 ** uniform(1, count, 1) * draw(count)
        offset = offset / offset.norm(dim=2, keepdim=True).clamp_min(1.0)
        norm, vector = look(offset)
        top = torch.where((norm > highest)[:, :, None], offset, top)
        highest = torch.maximum(highest, norm)
    # A derivative at a kink need not belong to any region: the least of the norms there and at two points beside it.
    best = highest.argmax(dim=1)[:, None, None].expand(-1, 1, features)
    winner, beside = center[:, None] + inside * top.gather(1, best), aside * draw(1)
    trio = torch.cat([winner, winner + beside, winner - beside], dim=1)
    return _largest(blocks, trio.flatten(0, 1), rounds=50)[0].view(batch, 3).amin(dim=1) * (1 - 1e-12)


def _slope_gradient(blocks: Blocks, points: Tensor, scattered: Tensor, half: Tensor) -> Tensor:
    """Direction in which ‖f(p + s + half) − f(p + s − half)‖, summed over the scattered s, grows fastest.

    points and half: (batch, count, features); scattered: (batch, probes, count, features). Shape of points.
    """
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        probes = points[:, None] + scattered
        ends = torch.cat([probes + half[:, None], probes - half[:, None]]).flatten(0, 2)
        one, other = forward(blocks, ends).flatten(1).chunk(2)
        (gradient,) = torch.autograd.grad((one - other).norm(dim=1).sum(), points)
    return unit_vectors(gradient.flatten(0, 1)).view_as(gradient)


def _largest(blocks: Blocks, points: Tensor, rounds: int = 6) -> tuple[Tensor, Tensor]:
    """The Jacobian's norm, from below, and where it is met: (points, features) -> (points,), same; in rounds."""
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        outputs = forward(blocks, points).flatten(1)
        count = outputs.shape[1]
        if count <= FEW_OUTPUTS:
            rows = [torch.autograd.grad(outputs[:, k].sum(), points, retain_graph=True)[0] for k in range(count)]
            return _of_matrix(torch.stack(rows, dim=1))
        back = torch.zeros_like(outputs, requires_grad=True)
        # v -> J v is the transpose of the linear map back -> Jᵀ back.
        (pulled,) = torch.autograd.grad(outputs, points, back, create_graph=True)
        (vector,) = torch.autograd.grad(outputs.sum(), points, retain_graph=True)
        for _ in range(rounds):
            (moved,) = torch.autograd.grad(pulled, back, unit_vectors(vector), retain_graph=True)
            (vector,) = torch.autograd.grad(outputs, points, unit_vectors(moved), retain_graph=True)
        (moved,) = torch.autograd.grad(pulled, back, unit_vectors(vector), retain_graph=True)
    return moved.norm(dim=1).nan_to_num(nan=0.0, posinf=0.0), unit_vectors(vector)


def _of_matrix(jacobian: Tensor) -> tuple[Tensor, Tensor]:
    """Norms and right singular vectors of matrices (points, outputs, features); 0 for one that is not finite."""
    scale = jacobian.abs().amax(dim=(1, 2))
    fine = scale.isfinite() & (scale > 0)
    scaled = torch.where(fine[:, None, None], jacobian / scale[:, None, None], 0.0)
    squared, left = torch.linalg.eigh(scaled @ scaled.mT)
    norm = torch.where(fine, scale * squared[:, -1].clamp_min(0.0).sqrt(), 0.0)
    return norm, unit_vectors((left[:, :, -1:] * scaled).sum(dim=1))
