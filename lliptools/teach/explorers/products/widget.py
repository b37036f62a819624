"""Why the product of norms is loose."""

from collections.abc import Iterator

from torch import Tensor, nn

from lliptools.teach.explorers.products.figure import products
from lliptools.teach.explorers.products.view import ProductView, check_points, ones, product_view
from lliptools.teach.shared.controls import check_start, slider
from lliptools.teach.shared.explorer import Explorer, Figure

__all__ = ["ProductExplorer"]


class ProductExplorer(Explorer):
    """A network as a chain of ellipses: what each depth makes of a ball, beside what the product of the norms allows.

    * net: any network that lliptools.global_bound takes
    * x: (points, *sample), of which index picks one; without x it is the point (1, …, 1)
    * eps: radius of the ball around it, in the units of x
    * depth: where the slider starts; left out, at the whole network; all depths are computed once
    * source: how net and x are called in the call that opens the same view again

    Raises InvalidInput for points and starting values that do not fit.
    """

    framed = "depth"

    def __init__(
        self,
        net: nn.Sequential,
        x: Tensor | None = None,
        *,
        index: int = 0,
        eps: float = 1.0,
        depth: int | None = None,
        source: str | None = None,
    ) -> None:
        self.usual = "net" if x is None else "net, x"
        x = ones(net) if x is None else x
        check_points(net, x)
        check_start("index", index, 0, len(x) - 1)
        check_start("eps", eps, 1e-12, 1e12)
        self.view: ProductView = product_view(net, x[index], eps)
        depth = self.view.depths if depth is None else depth
        check_start("depth", depth, 0, self.view.depths)
        self._index, self._eps = index, float(eps)
        tooltip = "how many steps of the network, each one layer of weights, are counted"
        controls = {"depth": slider("depth", tooltip, 0, self.view.depths, 1, depth)}
        super().__init__(controls, [["depth"]], self.usual if source is None else source)

    def _figure(self, *, coarse: bool) -> Figure:
        return products(self.view, self.controls["depth"].value)

    def _summary(self) -> tuple[str, ...]:
        return self.view.summary(self.controls["depth"].value)

    def _frames(self) -> Iterator[tuple[Figure, tuple[str, ...]]]:
        for depth in range(self.view.depths + 1):
            yield products(self.view, depth), self.view.summary(depth)

    def _keywords(self) -> dict[str, object]:
        return {"index": self._index, "eps": self._eps, "depth": self.controls["depth"].value}
