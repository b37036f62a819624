"""Why the product of norms is loose."""

from functools import partial

from torch import Tensor, nn

from lliptools.teach.explorers.products.figure import products
from lliptools.teach.explorers.products.view import ProductView, check_points, ones
from lliptools.teach.shared.controls import check_start, slider
from lliptools.teach.shared.explorer import Explorer, Look, Shown, State


class ProductExplorer(Explorer):
    """A network as a chain of ellipses: what each depth makes of a ball, beside what the product of the norms allows.

    * net: any network that lliptools.global_bound takes
    * x: (points, *sample), of which index picks one; without x it is the point (1, …, 1)
    * eps: radius of the ball around it, in the units of x
    * depth: where the slider starts; left out, at the whole network; all depths are computed once
    * source: how net and x are called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    Raises InvalidInput for points and starting values that do not fit.
    """

    keywords = ("index", "eps", "depth")
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
        layout: Look = None,
    ) -> None:
        self.usual = "net" if x is None else "net, x"
        x = ones(net) if x is None else x
        check_points(net, x)
        check_start("index", index, 0, len(x) - 1)
        check_start("eps", eps, 1e-12, 1e12)
        self._found = ProductView(net, x[index], eps)
        last, tooltip = self._found.depths, "how many steps of the network, each one layer of weights, are counted"
        row = {"depth": slider("depth", tooltip, 0, last, 1, last if depth is None else depth)}
        super().__init__([row], self.usual if source is None else source, index=index, eps=float(eps), layout=layout)

    def _show(self, at: State, coarse: bool) -> Shown:
        view, depth = self._found, at["depth"]
        return view, partial(products, view, depth), view.summary(depth)
