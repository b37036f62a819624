"""The explorers on networks that ship, in one list: for the app, the gallery, the static pictures and what is timed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lliptools.teach.widgets import Explorer

__all__ = ["EXAMPLES", "Example", "Picture"]

# Where a slider stands, a number or the name of an option, the figure there, and the same in words, line by line.
Picture = tuple[Any, "go.Figure", tuple[str, ...]]


@dataclass(frozen=True)
class Example:
    """An explorer, made when it is asked for, and the control that tells its story when it is moved.

    control: its name. still: the low, the middle and the high position that stand for it where nothing moves.
    every: one of how many positions is on its page of the gallery.
    """

    title: str
    question: str
    make: "Callable[[], Explorer]"
    control: str
    still: tuple[Any, Any, Any]
    every: int = 1

    def pictures(self, explorer: "Explorer") -> Iterator[Picture]:
        """What the explorer shows while the control runs over its positions; the others stay where they are."""
        control = explorer.controls[self.control]
        for position in _positions(control)[:: self.every]:
            with explorer.held():
                control.value = position
            explorer.finish()
            said = control.label if hasattr(control, "options") else position
            yield said, explorer._figure(coarse=False), explorer._summary()


def _positions(control: Any) -> list[Any]:
    """Where a slider can stand."""
    if hasattr(control, "options"):
        return [value for _, value in control._options_full]
    steps = round((control.max - control.min) / control.step)
    if hasattr(control, "base"):
        return [control.base ** (control.min + k * control.step) for k in range(steps + 1)]
    return [control.min + k * control.step for k in range(steps + 1)]


def _of(name: str, explorer: str, order: bool = False, **keywords: Any) -> "Explorer":
    """An explorer of a shipped network and its test points. order: by their margins, the smallest first."""
    import lliptools as ll
    from lliptools.teach import widgets

    data, net = ll.training.recipe(name).data(), ll.nets.load(name)
    x, y = data.x_test, data.y_test
    if order:
        by_margin = ll.certify(net, x, y, 0.0).margin.argsort()
        x, y = x[by_margin], y[by_margin]
    made: Explorer = getattr(widgets, explorer)(net, x, y, **keywords)
    return made


def _family(explorer: str, points: int, **keywords: Any) -> "Explorer":
    """An explorer of the networks that are trained alike but for one thing, on the digits."""
    import lliptools as ll
    from lliptools.teach import widgets

    kinds = ("standard", "global", "local", "clipped", "sparse")
    nets = {kind: ll.nets.load(f"digits-0.5-{kind}") for kind in kinds}
    data = ll.training.digits()
    made: Explorer = getattr(widgets, explorer)(nets, data.x_test[:points], data.y_test[:points], **keywords)
    return made


def _three_classes() -> "Explorer":
    """A linear network of three classes, whose certificate is the true distance."""
    import torch

    from lliptools.teach.widgets import MarginExplorer

    layer = torch.nn.Linear(2, 3).double()
    layer.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-2.0, -2.0]], dtype=torch.float64)
    layer.bias.data = torch.tensor([0.0, 0.0, 1.5], dtype=torch.float64)
    net = torch.nn.Sequential(layer)
    x = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return MarginExplorer(net, x, net(x).argmax(dim=1), point=(1.0, 0.0), L=2.0)


def _clipped() -> "Explorer":
    """Digits with no clipping, with it, and with the sparsity loss at two weights."""
    import lliptools as ll
    from lliptools.teach.widgets import ClipExplorer

    names = {"ReLU": "0.5-local", "clipped": "0.5-clipped", "sparse": "0.5-sparse", "sparser": "clipped"}
    nets = {name: ll.nets.load(f"digits-{of}") for name, of in names.items()}
    data = ll.training.digits()
    return ClipExplorer(nets, data.x_test, data.y_test, network="sparser", index=3, eps=0.1, eps_max=0.4)


def _alone(explorer: str) -> "Explorer":
    from lliptools.teach import widgets

    made: Explorer = getattr(widgets, explorer)()
    return made


def _fold() -> "Explorer":
    import lliptools as ll
    from lliptools.teach.widgets import ProductExplorer

    return ProductExplorer(ll.nets.fold(2, 8))


# In the order of the course.
EXAMPLES: dict[str, Example] = {
    "margins": Example(
        "Margins and certificates",
        "How far can the point move before the label may change?",
        _three_classes,
        "L",
        (1.0, 2.0, 4.0),
    ),
    "norms": Example(
        "The spectral norm, from below and above",
        "Which of these numbers may a certificate rest on?",
        partial(_alone, "NormExplorer"),
        "iteration",
        (1, 5, 20),
    ),
    "products": Example(
        "The product bound",
        "Why does the product of the layers' norms run away from the truth?",
        _fold,
        "depth",
        (1, 4, 8),
    ),
    "neurons-digits": Example(
        "Neurons near a digit",
        "Which neurons are fixed in a ball around this digit, and what does that buy?",
        partial(_of, "digits-clipped", "NeuronExplorer", index=3, eps_max=0.4),
        "eps",
        (0.02, 0.1, 0.4),
    ),
    "neurons-moons": Example(
        "Neurons in the plane",
        "Which of the lines along which the network bends does the disc reach?",
        partial(_of, "moons", "NeuronExplorer", order=True, index=60, eps_max=0.4),
        "eps",
        (0.02, 0.1, 0.4),
    ),
    "neurons-conv": Example(
        "Neurons of a convolutional network",
        "What is struck when a kernel looks at every place of a picture?",
        partial(_of, "digits-conv", "NeuronExplorer", index=3, eps_max=0.4),
        "eps",
        (0.02, 0.1, 0.4),
        every=2,
    ),
    "clipping": Example(
        "Clipping",
        "What happens to the intervals, and to the bounds, when the second flat zone comes nearer?",
        _clipped,
        "theta_scale",
        ("0.25", "1", "∞"),
    ),
    "training": Example(
        "A training run",
        "What does training by a bound buy, epoch by epoch?",
        partial(_alone, "TrainingExplorer"),
        "epochs",
        (1, 10, 40),
    ),
    "accuracy": Example(
        "Certified accuracy",
        "How many points does each network have right, and keep right however they are moved by ε?",
        partial(_family, "AccuracyExplorer", 120, net="sparse", eps_max=1.0),
        "eps",
        (0.1, 0.3, 0.6),
    ),
    "condition": Example(
        "One condition on scales",
        "Which scales of the columns make a layer 1-Lipschitz, and which are needlessly large?",
        partial(_alone, "ConditionExplorer"),
        "log_q",
        (-3.0, 0.0, 3.0),
    ),
    "lattice": Example(
        "The lattice of bounds",
        "How far from the truth is each bound, and what does it cost?",
        partial(_of, "moons", "LatticeExplorer", order=True, index=60, eps_max=0.4),
        "eps",
        (0.02, 0.1, 0.4),
    ),
}
