"""Clean, attacked and certified accuracy of a set of points, in one table."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from typing import Any

from torch import Tensor, nn

from lliptools.bounds import local_bound
from lliptools.bounds.reading import reads_once
from lliptools.certificates.attacks import is_correct, pgd
from lliptools.certificates.certificate import BoundFunction, Certificate, certify
from lliptools.digits import radius_text
from lliptools.errors import InvalidInput
from lliptools.nets.calls import options_checked

AT_ONCE = 256
Certifier = Callable[..., Certificate]
Part = tuple[Tensor, Tensor, float]  # points (batch, *sample), labels (batch,), radius
Work = Callable[[Tensor, Tensor, float], Any]
Over = Callable[[Work, Iterable[Part]], Iterable[Any]]  # as itertools.starmap: what work returns for every part


@dataclass(frozen=True)
class AccuracyTable:
    """Fractions of correct labels at radius eps, of so many points: certified ≤ attacked ≤ clean."""

    eps: float
    clean: float
    attacked: float
    certified: float
    points: int

    def __str__(self) -> str:
        accuracies = f"clean {self.clean:.4f}, attacked (PGD) {self.attacked:.4f}, certified {self.certified:.4f}"
        return f"eps = {radius_text(self.eps, 6)}: {accuracies}"


class AccuracyTables(tuple[AccuracyTable, ...]):
    """One AccuracyTable per radius, in the order asked for."""

    __slots__ = ()

    def __str__(self) -> str:
        return by_bound_text({"certified": self})


def by_bound_text(tables: Mapping[str, AccuracyTables]) -> str:
    """One line per radius, with a column for what each bound certifies. tables: as of accuracy_by_bound."""
    lines = ["".join(f"{name:>10}" for name in ("eps", "clean", "attacked", *tables))]
    for same in zip(*tables.values(), strict=True):
        numbers = (same[0].clean, same[0].attacked, *(each.certified for each in same))
        lines.append(f"{radius_text(same[0].eps):>10}" + "".join(f"{number:>10.4f}" for number in numbers))
    return "\n".join(lines)


@options_checked
def certified_accuracy(
    net: nn.Module,
    x: Tensor | Iterable[tuple[Tensor, Tensor]],
    y: Tensor | float | Sequence[float] | None = None,
    eps: float | Sequence[float] | None = None,
    bound: BoundFunction = local_bound,
    *,
    centred: bool = True,
    shells: int = 1,
    linear: bool = False,
    progress: bool = False,
) -> AccuracyTable | AccuracyTables:
    """Clean, attacked and certified accuracy at one finite radius, or at several in one pass over the points.

    * x: (batch, *sample) and y: (batch,), or x an iterable of such pairs, as torch's DataLoader, without y:
      certified_accuracy(net, loader, eps).
    * eps: a number, for which an AccuracyTable is returned, or several, for which AccuracyTables are.
    * centred, shells, linear: as of certify. Where norms hold with a probability, every batch at every radius fails
      with that of one certificate.
    * The attack is PGD with restarts (attacks.pgd) on the whole ball, whatever domain the bound has.
    * progress: show a bar. Raises InvalidInput.
    """
    labels: Any = None if eps is None else y
    asked: Any = y if eps is None else eps
    if asked is None or isinstance(asked, Tensor):
        expected = "certified_accuracy(net, x, y, eps), or (net, loader, eps), with one finite number as eps"
        why = "labels without a radius after them, or a tensor of radii", "pass a float, or a list of several"
        raise InvalidInput(expected, "no eps" if asked is None or eps is None else "eps as a tensor", *why)
    radii = asked if isinstance(asked, Sequence) else [asked]
    certifier = partial(certify, centred=centred, shells=shells, linear=linear)
    tables = accuracy_by_bound(net, x, labels, radii, {"": bound}, certifier=certifier, progress=progress)[""]
    return tables if isinstance(asked, Sequence) else tables[0]


@reads_once
def accuracy_by_bound(
    net: nn.Module,
    x: Tensor | Iterable[tuple[Tensor, Tensor]],
    y: Tensor | None,
    eps: Sequence[float],
    bounds: Mapping[str, BoundFunction],
    *,
    certifier: Certifier = certify,
    over: Over = starmap,
    progress: bool = False,
) -> dict[str, AccuracyTables]:
    """AccuracyTables for each of several upper bounds by name, in one pass over the points with one attack for all.

    * certifier: certify, or the same with other options.
    * over: who does the parts, as batchwise.in_rounds; by default this process, one after the other.

    The others, and what is raised: as of certified_accuracy.
    """
    from tqdm.auto import tqdm

    def counts(inputs: Tensor, labels: Tensor, radius: float) -> list[int]:
        right = is_correct(net, inputs, labels)
        attacked = is_correct(net, pgd(net, inputs, labels, radius), labels)
        certified = (certifier(net, inputs, labels, radius, bound=bound).holds for bound in bounds.values())
        return [len(right), *(int(held.sum()) for held in (right, attacked, *certified))]

    radii = list(eps)
    each = tqdm(list(_batches(x, y)) if y is not None else _batches(x, y), disable=not progress)
    found = list(over(counts, ((inputs, labels, radius) for inputs, labels in each for radius in radii)))
    if not found:
        why = "an empty selection, or a loader that was used up", "pass the loader itself, not its iterator"
        raise InvalidInput("at least one point and one radius", "no points" if radii else "no radii", *why)
    totals = [[sum(same) for same in zip(*found[k :: len(radii)], strict=True)] for k in range(len(radii))]
    return {
        name: AccuracyTables(
            AccuracyTable(float(radius), clean / points, attacked / points, certified[place] / points, points)
            for radius, (points, clean, attacked, *certified) in zip(radii, totals, strict=True)
        )
        for place, name in enumerate(bounds)
    }


def _batches(x: Tensor | Iterable[tuple[Tensor, Tensor]], y: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(x, Tensor):
        if y is not None:
            got = type(x).__name__
            cause = "a list of points, or labels that the loader gives already"
            step = "torch.stack the points, or leave y out: certified_accuracy(net, loader, eps)"
            raise InvalidInput("y=None beside a loader of (x, y) pairs, or x as a tensor", got, cause, step)
        for pair in x if isinstance(x, Iterable) else [x]:
            if not (isinstance(pair, tuple | list) and len(pair) == 2):
                why = "points alone, or batches with more in them", "certified_accuracy(net, [(x, y)], eps)"
                raise InvalidInput("a loader of (x, y) pairs", type(pair).__name__, *why)
            # A loader may write its next batch over this one, which parts that are done later still need.
            x, y = (each.detach().clone() if isinstance(each, Tensor) else each for each in pair)
            yield x, y
    elif isinstance(y, Tensor) and y.shape == x.shape[:1] and len(x):
        yield from zip(x.split(AT_ONCE), y.split(AT_ONCE), strict=True)
    else:
        yield x, y  # type: ignore[misc]  # refused, with the reason, by the first that reads them
