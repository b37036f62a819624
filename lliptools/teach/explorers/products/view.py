"""Why the product of norms is loose: what a network makes of a ball, depth by depth, beside what the product allows."""

import math

import torch
from torch import Tensor, nn

from lliptools.bounds import exact_bound, global_bound, round_up, sampled_bound
from lliptools.digits import radius_text
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets import Block, Designed, Residual, check_input, forward, read_blocks
from lliptools.nets.checks import check_finite_eps
from lliptools.nets.registry import read_activation

POINTS = 97  # on the edge of the ball
ROUNDS = 30  # of subspace iteration for the directions in which a Jacobian is largest
CELLS, PATTERNS = 4000, 60  # that the exact search may take


class ProductView:
    """A network cut into steps, near a point x, (*sample); everything is by depth, 0 being the input itself.

    * eps: radius of the ball around the point, above 0
    * product: (depths + 1,) product of the norms so far, an upper bound everywhere
    * sampled: the best slope found in the ball, a lower bound
    * exact: the constant on the ball, NaN where the search for it would be too long
    * slope: the norm of the Jacobian at the point
    * image, ellipse: (depths + 1, points, 2) what the network and its Jacobian at the point make of the edge of the
      ball, around the point's own image, in units of eps times the product, so that it lies in the unit disc
    * whole: (depths + 1,) bool, whether that is all of it; else it is the shadow of the circle that the Jacobian
      stretches most
    """

    def __init__(self, net: nn.Sequential, x: Tensor, eps: float) -> None:
        batch = x[None]
        center = check_input(net, batch)
        if not check_finite_eps(eps, center).item() > 0:
            cause = "a point, of which there is no picture"
            raise InvalidInput(expected="a radius above 0", got=f"eps={eps}", cause=cause, next_step="leave eps out")
        circle, flat = _circle(center), x.numel() == 2
        known, images, ellipses, whole = [(1.0, 1.0, 1.0, 1.0)], [circle], [circle], [flat]
        for prefix in prefixes(net, batch):
            bound = global_bound(prefix, batch).value.item()
            sampled = sampled_bound(prefix, batch, eps, samples=32, steps=6).value.item()
            exact = _exact(prefix, batch, eps) if math.isfinite(known[-1][2]) else math.nan  # deeper takes longer
            moved, stretched, slope, outputs = _images(read_blocks(prefix, x.shape), batch.double(), eps)
            scale = eps * (bound if 0 < bound < math.inf else 1.0)
            images.append(moved / scale)
            ellipses.append(stretched / scale)
            whole.append(flat and outputs == 2)
            known.append((bound, sampled, exact, slope))
        self.product, self.sampled, self.exact, self.slope = torch.tensor(known, dtype=torch.float64).T
        self.image, self.ellipse = torch.stack(images), torch.stack(ellipses)
        self.eps, self.whole = float(eps), torch.tensor(whole)

    @property
    def depths(self) -> int:
        """How many steps there are."""
        return len(self.product) - 1

    def summary(self, depth: int) -> tuple[str, ...]:
        """What the product overstates in a sentence; then the depth, and what is known there."""
        product, sampled, exact = (values[depth].item() for values in (self.product, self.sampled, self.exact))
        known = f"exact on the ball {above(exact)}" if math.isfinite(exact) else "exact: too long a search, left out"
        seen = "the image of the whole ball" if self.whole[depth] else "shadow on the two most stretched directions"
        loose = f" · the product is at most {above(product / sampled)} times too large" if sampled > 0 else ""
        truth = f"the truth here is {above(exact)}" if math.isfinite(exact) else f"a slope of {sampled:.4g} was found"
        return (
            f"After {depth} of {self.depths} steps the product of the norms allows {above(product)}: {truth}.",
            f"depth {depth} of {self.depths}, ball of radius {radius_text(self.eps)} · {seen}",
            f"product of norms ≤ {above(product)} · best sampled slope {sampled:.4g}, from below · {known}{loose}",
        )


def above(value: float) -> str:
    """An upper bound as it is printed: rounded up, but for what is float64's own rounding, as in 2.0000000000000004."""
    return round_up(value * (1 - 4e-12))


def check_points(net: nn.Module, x: Tensor) -> None:
    """Refuse a network that has no global bound, and points that do not fit it."""
    check_input(net, x)
    global_bound(net, x[:1])


def ones(net: nn.Module) -> Tensor:
    """The point (1, …, 1) of a network whose first layer says how many inputs it has."""
    first = next(iter(net if isinstance(net, nn.Sequential) else net.modules()), None)
    if not isinstance(first, nn.Linear):
        wanted, mend = "x of shape (points, *sample)", "pass the points that the network was trained on"
        cause = "a network that does not begin with torch.nn.Linear, whose inputs could have any shape"
        raise InvalidInput(expected=wanted, got="None", cause=cause, next_step=mend)
    return torch.ones(1, first.in_features, dtype=torch.float64, device=first.weight.device)


def prefixes(net: nn.Module, x: Tensor) -> list[nn.Sequential]:
    """The network up to each depth.

    A step ends with a layer of weights that follows an activation, or that has one inside. The first layer of weights
    is a step of its own, unless every other step leads back to as many numbers as came in, as folds do.
    """
    layers = list(net) if isinstance(net, nn.Sequential) else [net]
    cuts: list[int] = []
    first, bent = 0, False
    for number, layer in enumerate(layers, start=1):
        weighs = any(True for _ in layer.parameters())
        if read_activation(layer) is not None:
            bent = True
        elif isinstance(layer, Designed | Residual | nn.Sequential) or (weighs and bent):
            cuts.append(number)
            bent = False
        elif weighs and not cuts and not first:
            first = number
    if not cuts or bent:
        cuts.append(len(layers))
    cuts[-1] = len(layers)
    found = [nn.Sequential(*layers[:cut]) for cut in cuts]
    if first and first < cuts[0]:
        features = x[0].numel()
        if not all(read_blocks(prefix, x.shape[1:])[-1].linear.rows == features for prefix in found):
            found.insert(0, nn.Sequential(*layers[:first]))
    return found


def _exact(net: nn.Sequential, x: Tensor, eps: float) -> float:
    try:
        return exact_bound(net, x, eps, max_cells=CELLS, max_patterns=PATTERNS).value.item()
    except (InvalidInput, UnsupportedLayer):
        return math.nan


def _circle(like: Tensor) -> Tensor:
    angle = torch.linspace(0, 2 * math.pi, POINTS, dtype=torch.float64, device=like.device)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def _images(blocks: tuple[Block, ...], x: Tensor, eps: float) -> tuple[Tensor, Tensor, float, int]:
    """What the network and its Jacobian make of a circle, (points, 2) each, the Jacobian's norm, and its rows."""
    directions, outward, values = _largest(blocks, x)
    rows = outward.shape[1]
    shown = torch.eye(2, dtype=x.dtype, device=x.device) if rows == 2 else outward
    circle = eps * _circle(x)
    points = x + (circle @ directions).reshape(-1, *x.shape[1:])
    moved = (_outputs(blocks, points) - _outputs(blocks, x)).detach() @ shown.T
    stretched = (circle * values) @ outward @ shown.T
    return moved, stretched, values[0].item(), rows


def _largest(blocks: tuple[Block, ...], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The Jacobian's first two directions: in (2, features), out (2, outputs), and its two largest values (2,)."""
    features = x[0].numel()
    twice = x.repeat(2, *[1] * (x.dim() - 1)).requires_grad_(True)  # a copy for each direction
    with torch.enable_grad():
        outputs = _outputs(blocks, twice)
        weights = torch.zeros_like(outputs, requires_grad=True)
        # v -> J v is the transpose of the linear map weights -> Jᵀ weights.
        (pulled,) = torch.autograd.grad(outputs, twice, weights, create_graph=True)

    def forth(v: Tensor) -> Tensor:
        return torch.autograd.grad(pulled, weights, v.reshape(twice.shape), retain_graph=True)[0].detach()

    v = torch.eye(2, features, dtype=x.dtype, device=x.device)
    if features > 2:
        generator = torch.Generator().manual_seed(0)
        v = torch.linalg.qr(torch.randn(features, 2, generator=generator, dtype=torch.float64).to(x))[0].T
        for _ in range(ROUNDS):
            back = torch.autograd.grad(outputs, twice, forth(v), retain_graph=True)[0]
            v = torch.linalg.qr(back.reshape(2, -1).T)[0].T
    left, values, right = torch.linalg.svd(forth(v), full_matrices=False)  # J Vᵀ, transposed
    missing = 2 - len(values)  # a network with one output
    outward = torch.nn.functional.pad(right, (0, 0, 0, missing))
    if missing:
        left = torch.cat([left, torch.stack([-left[1], left[0]])], dim=1)
    return left.T @ v, outward, torch.nn.functional.pad(values, (0, missing))


def _outputs(blocks: tuple[Block, ...], points: Tensor) -> Tensor:
    return forward(blocks, points).flatten(1)
