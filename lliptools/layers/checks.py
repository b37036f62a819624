"""What layers are refused for: sizes, shapes and activations that no theorem covers."""

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer, check_whole
from lliptools.nets import Activation
from lliptools.nets.checked import Checked
from lliptools.nets.layers import check_layer
from lliptools.nets.operators import Shape
from lliptools.nets.registry import read_activation

COVERED = (
    "ReLU, LeakyReLU, ReLU6, Hardtanh, Tanh, Sigmoid, Softsign, Softplus with threshold=40, ELU with alpha <= 1, "
    "ClippedReLU"
)


def check_widths(layer: nn.Module, **widths: int) -> None:
    """Raise InvalidInput for a width that is not a whole number of at least 1."""
    for name, width in widths.items():
        kind, cause = type(layer).__name__, "a size that was computed by a division, or arguments in another order"
        check_whole(f"{name} of {kind}", width, 1, cause, f"look at help(lliptools.layers.{kind})")


def check_shape(layer: nn.Module, shape: Shape, wanted: Shape) -> None:
    """Raise InvalidInput where samples do not have the shape that a layer works on."""
    if tuple(shape) != tuple(wanted):
        got = f"shape {tuple(shape)}"
        cause = "points of another data set, images without their channel axis, or layers that do not fit together"
        step = "check the width of the layer before, or x.shape"
        raise InvalidInput(f"samples of shape {tuple(wanted)} before {type(layer).__name__}", got, cause, step)


def check_slopes(activation: nn.Module, layer: str, shape: Shape) -> None:
    """Raise UnsupportedLayer unless an activation, of units of this shape, is elementwise with slopes in [0, 1]."""
    found = read_activation(activation)
    if found is not None:
        check_layer(activation, f"{type(activation).__name__} in {layer}")
    reason, step = _reason(activation, found, shape), "use torch.nn.ReLU()"
    if not reason:
        return
    if isinstance(activation, nn.Softplus):
        reason = f"beyond its threshold, {activation.threshold:g}, torch turns to z itself, which is a jump"
        step = "use torch.nn.Softplus(threshold=40), which has no jump in float64, or torch.nn.ReLU()"
    expected = f"inside {layer} an elementwise activation with slopes in [0, 1]: {COVERED}"
    raise UnsupportedLayer(expected, str(activation), reason, step)


def _reason(activation: nn.Module, found: Activation | None, shape: Shape) -> str:
    """Why an activation is not covered; empty where it is."""
    if found is None:
        return "no rule is known for its slopes"
    if isinstance(activation, nn.PReLU):
        return "its slope is a parameter, which training can move out of [0, 1]"
    if not found.elementwise:
        return "it compares units with each other, so that it has no diagonal of slopes"
    least, greatest = found.slopes(*_parts_of_the_line(activation, found, shape))
    if not ((least >= 0).all() and (greatest <= 1).all()):
        return f"its slopes reach from {least.min():g} to {greatest.max():g}"
    return ""


def _parts_of_the_line(activation: nn.Module, found: Activation, shape: Shape) -> tuple[Tensor, Tensor]:
    """The whole line, and parts of it: slopes that an own rule says of them are held against the function in each."""
    device = next((t.device for t in (*activation.parameters(), *activation.buffers())), torch.device("cpu"))
    if device.type == "meta":
        why = "an activation that was built without memory", 'build it under torch.device("cpu")'
        raise InvalidInput(f"{type(activation).__name__} with values", "parameters on the device meta", *why)
    ends = torch.arange(-8.0, 8.25, 0.25, dtype=torch.float64, device=device)
    infinite = torch.full_like(ends[:1], torch.inf)
    lower, upper = torch.cat([-infinite, -infinite, ends]), torch.cat([infinite, ends, infinite])
    units = shape if isinstance(found, Checked) else [1] * len(shape)
    wide = [1] * len(shape)
    return lower.view(-1, *wide).expand(-1, *units), upper.view(-1, *wide).expand(-1, *units)
