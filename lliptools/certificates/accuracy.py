"""Clean, attacked and certified accuracy of a set of points, in one table."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from torch import Tensor, nn

from lliptools.bounds import local_bound
from lliptools.certificates.attacks import is_correct, pgd
from lliptools.certificates.certificate import Rung, certify
from lliptools.digits import radius_text
from lliptools.errors import InvalidInput

__all__ = ["AccuracyTable", "AccuracyTables", "Over", "Part", "Work", "accuracy_by_bound", "certified_accuracy"]

AT_ONCE = 256
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
        """One line."""
        return (
            f"eps = {radius_text(self.eps, 6)}: clean {self.clean:.4f}, attacked (PGD) {self.attacked:.4f}, "
            f"certified {self.certified:.4f}"
        )


class AccuracyTables(tuple[AccuracyTable, ...]):
    """One AccuracyTable a radius, in the order asked for."""

    __slots__ = ()

    def __str__(self) -> str:
        """One line a radius."""
        lines = [f"{'eps':>10}{'clean':>10}{'attacked':>10}{'certified':>10}"]
        lines += [f"{radius_text(t.eps):>10}{t.clean:>10.4f}{t.attacked:>10.4f}{t.certified:>10.4f}" for t in self]
        return "\n".join(lines)


def certified_accuracy(
    net: nn.Module,
    x: Tensor | Iterable[tuple[Tensor, Tensor]],
    y: Tensor | None,
    eps: float | Sequence[float],
    bound: Rung = local_bound,
    *,
    progress: bool = False,
) -> AccuracyTable | AccuracyTables:
    """Clean, attacked and certified accuracy at one finite radius, or at several in one pass over the points.

    x: (batch, *sample) and y: (batch,), or x an iterable of such pairs, as torch's DataLoader, and y None.
    eps: a number, for which an AccuracyTable is returned, or several, for which AccuracyTables are.
    The attack is PGD with restarts (attacks.pgd), an upper bound of the robust accuracy on the whole ball, whatever
    domain the bound has. progress: show a bar.
    Raises InvalidInput.
    """
    radii = eps if isinstance(eps, Sequence) else [eps]
    tables = accuracy_by_bound(net, x, y, radii, {"": bound}, progress=progress)[""]
    return tables if isinstance(eps, Sequence) else tables[0]


def accuracy_by_bound(
    net: nn.Module,
    x: Tensor | Iterable[tuple[Tensor, Tensor]],
    y: Tensor | None,
    eps: Sequence[float],
    bounds: Mapping[str, Rung],
    *,
    over: Over = starmap,
    progress: bool = False,
) -> dict[str, AccuracyTables]:
    """AccuracyTables for each of several bounds by name, in one pass over the points with one attack for all.

    bounds: as ll.BOUNDS has them, upper ones. over: who does the parts, as batchwise.in_rounds; by default this
    process, one after the other. The others, and what is raised: as of certified_accuracy.
    """
    from tqdm.auto import tqdm

    def counts(inputs: Tensor, labels: Tensor, radius: float) -> dict[str, Any]:
        right = is_correct(net, inputs, labels)
        attacked = is_correct(net, pgd(net, inputs, labels, radius), labels)
        held = {name: certify(net, inputs, labels, radius, bound=bound).holds for name, bound in bounds.items()}
        certified = {name: int(holds.sum()) for name, holds in held.items()}
        return {
            "points": len(right),
            "clean": int(right.sum()),
            "attacked": int(attacked.sum()),
            "certified": certified,
        }

    radii = list(eps)
    each = tqdm(list(_batches(x, y)) if y is not None else _batches(x, y), disable=not progress)
    found = list(over(counts, ((inputs, labels, radius) for inputs, labels in each for radius in radii)))
    if not found:
        raise InvalidInput(
            expected="at least one point and one radius",
            got="no points" if radii else "no radii",
            cause="an empty selection, or a loader that was used up",
            next_step="pass the loader itself, not its iterator",
        )

    def table(radius: float, same: list[dict[str, Any]], name: str) -> AccuracyTable:
        points, clean, attacked = (sum(part[key] for part in same) for key in ("points", "clean", "attacked"))
        certified = sum(part["certified"][name] for part in same)
        return AccuracyTable(float(radius), clean / points, attacked / points, certified / points, points)

    return {
        name: AccuracyTables(table(radius, found[k :: len(radii)], name) for k, radius in enumerate(radii))
        for name in bounds
    }


def _batches(x: Tensor | Iterable[tuple[Tensor, Tensor]], y: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(x, Tensor):
        if y is not None:
            raise InvalidInput(
                expected="y=None beside a loader of (x, y) pairs, or x as a tensor",
                got=type(x).__name__,
                cause="a list of points, or labels that the loader gives already",
                next_step="torch.stack the points, or pass None for y",
            )
        yield from x
    elif isinstance(y, Tensor) and y.shape == x.shape[:1] and len(x):
        yield from zip(x.split(AT_ONCE), y.split(AT_ONCE), strict=True)
    else:
        yield x, y  # type: ignore[misc]  # refused, with the reason, by the first that reads them
