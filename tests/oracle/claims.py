"""What the library claims about a network, brought before the oracle."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
from oracle import Oracle, Refutation, margins, norm
from torch import Tensor, nn

import lliptools as ll
from lliptools.bounds.merged import FULL

# Every bound that certificates take, and the local one with each norm that errs upward.
BOUNDS: dict[str, Callable[..., ll.Bound]] = {
    **{name: bound for name, bound in ll.BOUNDS.items() if name not in ("exact", "sampled")},
    "exact": partial(ll.exact_bound, max_cells=300, max_patterns=300),
    **{
        f"local, {name} norms": partial(ll.local_bound, norm=method)
        for name, method in ll.bounds.METHODS.items()
        if name != "auto" and method.kind in ("upper", "exact")
    },
    "local, prefix boxes": partial(ll.local_bound, domain=FULL),
}
TINY = (0.0, 1e-300, 1e-12)
SHARES = (0.3, 0.7, 0.95, 1.0, 1.5)  # of the distance at which an attack breaks a point, of 1 where none does


LADDER = ("global", "local", "path", "merged", "tightest", "exact")
OTHERS = tuple(name for name in BOUNDS if name not in LADDER)


@dataclass
class Verdict:
    """How much was claimed by whom, and which of it is false."""

    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    refuted: list[str] = field(default_factory=list)

    def certificates(self) -> int:
        """How many were issued."""
        return sum(count["certificates"] for count in self.counts.values())


def turn(seed: int) -> dict[str, tuple[str, ...]]:
    """Which one or two bounds are asked about the network of a seed; every 25th time who is asked for radii too."""
    first, second = LADDER[seed % 6], LADDER[seed // 6 % 6]
    if first == second:
        second = OTHERS[seed // 36 % len(OTHERS)]
    radii = {0: (LADDER[seed // 50 % 5],), 25: ("stages",)}.get(seed % 50, ())
    return {"bounds": (first, second) if seed % 2 else (first,), "radii": radii}


def judge(
    net: nn.Module,
    x: Tensor,
    *,
    seed: int = 0,
    bounds: Iterable[str] = tuple(BOUNDS),
    radii: Iterable[str] = (),
    shares: Iterable[float] = SHARES,
) -> Verdict:
    """Ask the bounds for certificates and constants at points x (points, *sample), and the oracle what of it is false.

    radii: bounds that are asked for certified radii as well, and "stages" for certificates in stages. shares: the radii
    of the balls, in distances to the nearest label that an attack finds. torch's seed is set anew before each question,
    as one might who has drawn the weights from it.
    """
    verdict, oracle = Verdict(), Oracle(net, x, seed)
    answers = net(x.clone()).flatten(1).detach()
    labels, classes = answers.argmax(dim=1), answers.shape[1]
    hints, distance = nearest_break(oracle, x.double(), labels)
    known = torch.where(distance.isfinite(), distance, 1.0)
    eps = torch.cat([*(torch.full_like(known, tiny) for tiny in TINY), *(share * known for share in shares), 0 * known])
    point = torch.arange(len(x)).repeat(len(eps) // len(x))
    y = labels[point]
    y[-len(x) :] = (labels + 1) % classes  # which do not win
    claims: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # by whom: points, labels, radii that are certified
    constants: dict[str, Tensor] = {}  # by whom: (rows, 1 + classes), of the whole and of every f_y − f_j
    for name in bounds:
        rows = torch.ones_like(point, dtype=torch.bool) if name != "exact" else eps <= known[point]
        found = asked(
            verdict.counts[name],
            seed,
            ll.certify,
            net,
            x[point[rows]],
            y[rows],
            eps[rows],
            bound=asked_once(BOUNDS[name]),
        )
        if found is not None:
            with ll.bounds.outward_rounding():
                whole = torch.cat([found.bound.value[:, None], found.bound.pairwise(y[rows])], dim=1)
            constants[name] = torch.full((len(point), 1 + classes), torch.inf, dtype=torch.float64)
            constants[name][rows] = whole.nan_to_num(torch.inf)
            claims[name] = point[rows][found.holds], y[rows][found.holds], eps[rows][found.holds]
            verdict.counts[name].update({"bounds": len(whole), "certificates": int(found.holds.sum())})
    for name in radii:
        count = verdict.counts[who := f"radius, {name}" if name != "stages" else name]
        if name == "stages":
            found = asked(count, seed, ll.certify_in_stages, net, x[point], y, eps)
            rows = None if found is None else (point[found.holds], y[found.holds], eps[found.holds])
        else:
            found = asked(count, seed, ll.certified_radius, net, x, labels, bound=BOUNDS[name])
            rows = None if found is None else tuple(part[found > 0] for part in (torch.arange(len(x)), labels, found))
        if rows is not None:
            claims[who] = rows
            count["certificates"] += len(rows[0])
    refute_certificates(verdict, oracle, x, hints, claims)
    if constants:
        wide = (eps > TINY[1]).nonzero()[:, 0]
        least = torch.stack(list(constants.values())).amin(dim=0)[wide]
        for found in oracle.slopes(x[point[wide]], y[wide], eps[wide], least[:, 0], least[:, 1:]):
            row, what = wide[found.row], int(found.what.split()[-1])
            false = [name for name, claimed in constants.items() if claimed[row, what] <= found.claimed]
            verdict.refuted.append(f"{', '.join(false)}: {said(found, eps[row], point[row])}")
    return verdict


def refute_certificates(
    verdict: Verdict, oracle: Oracle, x: Tensor, hints: Tensor, claims: dict[str, tuple[Tensor, Tensor, Tensor]]
) -> None:
    """Of each point and label the certificate of the largest radius: it says all that the others say."""
    largest: dict[tuple[int, int], float] = {}
    for point, y, eps in claims.values():
        for key, radius in zip(zip(point.tolist(), y.tolist(), strict=True), eps.tolist(), strict=True):
            largest[key] = max(radius, largest.get(key, 0.0))
    if not largest:
        return
    point, y = torch.tensor(list(largest)).T
    eps = torch.tensor(list(largest.values()), dtype=torch.float64)
    for found in oracle.certificates(x[point], y, eps, hints[point]):
        at, label, distance = point[found.row], y[found.row], norm((found.points[-1] - x[point[found.row]]).flatten())
        false = [
            name
            for name, (points, labels, radii) in claims.items()
            if ((points == at) & (labels == label) & (radii >= distance)).any()
        ]
        verdict.refuted.append(f"{', '.join(false)}: {said(found, eps[found.row], at)}")


def asked(count: Counter[str], seed: int, question: Callable, *arguments: object, **keywords: object) -> object | None:
    """The answer; None where the library refuses to give one."""
    count["networks"] += 1
    torch.default_generator.manual_seed(seed)
    try:
        return question(*arguments, **keywords)
    except (ll.InvalidInput, ll.UnsupportedLayer):
        count["refusals"] += 1
        return None


def asked_once(bound: Callable[..., ll.Bound]) -> Callable[..., ll.Bound]:
    """The same bound, whose constants of f_y − f_j are those that the certificate rests on, and not computed again."""

    def once(net: nn.Module, x: Tensor, eps: Tensor) -> ll.Bound:
        found, known = bound(net, x, eps), []
        compute = found.pairwise
        object.__setattr__(
            found, "pairwise", lambda y, needed=None: known[0] if known else known.append(compute(y)) or known[0]
        )
        return found

    return once


def said(found: Refutation, eps: Tensor, point: Tensor) -> str:
    return (
        f"{found.what} {found.found!r} where {found.claimed!r} is claimed, at eps = {eps.item()!r} around point {point}"
    )


def nearest_break(oracle: Oracle, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Near points at which class y loses, and radii that hold them: (points, *sample), (points,); inf where none is."""
    lowest, far = oracle.attack(x, y, 3 * (1 + norm(x.flatten(1))))
    near = 0 * far
    for _ in range(10):
        middle = (near + far) / 2
        answers = oracle(x + middle).detach()
        lost = margins(answers, y).amin(dim=1) < -1e-9 * answers.abs().amax(dim=1)
        lost = lost.view(-1, *[1] * (x.dim() - 1))
        near, far = torch.where(lost, near, middle), torch.where(lost, middle, far)
    return x + far, torch.where(lowest < 0, norm((x + far - x).flatten(1)) * (1 + 2**-40), torch.inf)
