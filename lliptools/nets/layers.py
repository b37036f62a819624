"""torch's linear layers, read as operators, and every reason to refuse one."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.designed import Designed, states_its_guarantee
from lliptools.nets.images import IMAGES, both, copied, read_image_layer, with_bias
from lliptools.nets.linear import SMALLEST, TINY, UNIT
from lliptools.nets.operators import Affine, Dense, Scale, Shape
from lliptools.nets.residual import Residual
from lliptools.nets.rules import rule

__all__ = ["SUPPORTED", "changes_input", "check_layer", "is_tampered", "read_affine"]

SUPPORTED = (
    "a torch.nn.Sequential of Linear, Conv1d, Conv2d, ConvTranspose2d, AvgPool2d, AdaptiveAvgPool2d(1), BatchNorm1d, "
    "BatchNorm2d, ZeroPad2d, CircularPad2d, PixelUnshuffle, Flatten, Unflatten, Identity, Dropout, Sequential, "
    "lliptools.nets.Residual, the layers of lliptools.layers, and the activations ReLU, LeakyReLU, ReLU6, Hardtanh, "
    "Tanh, Sigmoid, Softplus, ELU, and ClippedReLU, MaxMin, ClippedMaxMin of lliptools.nets"
)
UNCHANGED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
RESHAPING = (nn.Flatten, nn.Unflatten)
NORMALISING = (nn.BatchNorm1d, nn.BatchNorm2d)
LINEAR = (nn.Linear, *IMAGES, *NORMALISING)
ENDLESS = (float("inf"), -float("inf"))
KNOWN = {*UNCHANGED, *RESHAPING, *LINEAR, nn.Sequential, Residual}


def read_affine(layer: nn.Module, name: str, shape: Shape, dtype: torch.dtype) -> Affine | Shape:
    """The layer on samples of a shape: what it does, or the new shape where it does nothing but reshape."""
    if isinstance(layer, UNCHANGED):
        return shape
    if isinstance(layer, RESHAPING):
        return tuple(_fit(layer, torch.empty(1, *shape), name).shape[1:])
    if isinstance(layer, nn.Linear):
        if len(shape) != 1:
            raise _not_flat(name, shape)
        if layer.in_features != shape[0]:
            raise _other_width(name, layer.in_features, shape[0])
        return with_bias(Dense(copied(layer.weight, dtype), shape), layer.bias)
    if isinstance(layer, IMAGES):
        return read_image_layer(layer, name, shape, dtype)
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    return _normalisation(layer, name, shape, dtype)


def _normalisation(layer: nn.BatchNorm1d | nn.BatchNorm2d, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    axes = {1, 2} if isinstance(layer, nn.BatchNorm1d) else {3}
    if len(shape) not in axes or shape[0] != layer.num_features:
        raise _other_width(name, layer.num_features, shape[0])
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None
    assert variance is not None
    factor = (variance.detach().double() + layer.eps).rsqrt()
    shift = -mean.detach().double() * factor
    if layer.weight is not None:
        factor, shift = factor * copied(layer.weight, torch.float64), shift * copied(layer.weight, torch.float64)
    # What underflow takes of a shift is counted; a factor that it takes to 0 would leave nothing to count by.
    size = shift.detach().abs() + TINY
    if layer.bias is not None:
        shift = shift + copied(layer.bias, torch.float64)
        size = size + layer.bias.detach().double().abs()
    told = (factor.abs() >= SMALLEST) | (layer.weight == 0 if layer.weight is not None else False)
    if not (factor.isfinite() & shift.isfinite() & told).all():
        raise InvalidInput(
            expected=f"statistics that {name} can normalise by",
            got=f"a factor or shift that is not finite, or a factor below {SMALLEST:g}",
            cause="a variance next to 0 or beyond all bounds, or weights that have exploded or vanished",
            next_step="look at its running_var and weight",
        )
    wide = (-1, *[1] * (len(shape) - 1))
    error = (8 * UNIT * size + TINY).to(dtype).view(wide)
    return Affine(Scale(factor.to(dtype), shape), shift.to(dtype).view(wide), 8 * UNIT, error)


def changes_input(layers: Iterable[nn.Module | Affine]) -> nn.Module | None:
    """The layer of a chain that writes its outputs over the chain's own input, directly or through a view of it.

    What reads that input once more, as x + block(x) does, then reads something else.
    """
    for layer in layers:
        first = layer
        if isinstance(layer, Residual):
            first = changes_input(layer.block) or layer
        elif isinstance(layer, nn.Sequential):
            first = changes_input(layer) or (nn.Identity() if _hands_on(layer) else layer)
        if isinstance(first, nn.Module) and getattr(first, "inplace", False) and not isinstance(first, UNCHANGED):
            return first
        if not _hands_on(first):
            return None
    return None


def _hands_on(layer: nn.Module | Affine) -> bool:
    """Whether a layer returns its input, or a view of it."""
    if isinstance(layer, nn.Sequential):
        return all(map(_hands_on, layer))
    return isinstance(layer, (*UNCHANGED, *RESHAPING))


def is_tampered(module: nn.Module) -> bool:
    """Whether calling the module does more than its class says: by hooks, its own or for all, or by own methods."""
    own = module._forward_hooks or module._forward_pre_hooks or vars(module).get("_compiled_call_impl")
    own = own or any(callable(getattr(type(module), name, None)) for name in vars(module))
    return bool(own or nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks)


def check_layer(layer: nn.Module, name: str, *, values: bool = True) -> None:
    """Raise UnsupportedLayer or InvalidInput, naming the layer, for one that cannot be read whatever comes in.

    values: also look at its numbers, for which a GPU is waited for.
    """
    found = type(layer) in KNOWN or rule(layer) is not None or isinstance(layer, Designed)
    reason = "no rule is known for what this layer computes"
    step = "replace the layer by a supported one, or fold it into its neighbours"
    said = name
    if isinstance(layer, Designed) and not states_its_guarantee(layer):
        found, reason = False, "a class that changes what it computes and inherits what it guarantees"
        step = "define lipschitz_bound in the class itself, and let forward be made from chain"
    elif found and is_tampered(layer):
        found, said = False, f"{name} with a forward hook"
    elif isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
        found, said = False, f"{name} with start_dim={layer.start_dim}, end_dim={layer.end_dim}"
    elif isinstance(layer, nn.Unflatten) and layer.dim != 1:
        found, said = False, f"{name} with dim={layer.dim}"
    elif isinstance(layer, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, *NORMALISING)) and layer.training:
        found, said, reason = False, f"{name} in training mode", "in training mode it changes from batch to batch"
        step = "call net.eval() first"
    elif isinstance(layer, NORMALISING) and layer.running_mean is None:
        found, said, reason = False, f"{name} without running statistics", "it normalises by the batch it is given"
        step = "build it with track_running_stats=True"
    elif isinstance(layer, nn.ConvTranspose2d) and layer.groups != 1:
        found, said, reason = False, f"{name} with groups={layer.groups}", "transposed convolutions in groups"
    elif isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.padding_mode not in {"zeros", "circular"}:
        found, said = False, f"{name} with padding_mode={layer.padding_mode!r}"
        reason, step = "a padding that repeats pixels, which raises the norm", 'use padding_mode="zeros" or "circular"'
    elif isinstance(layer, nn.AdaptiveAvgPool2d) and both(layer.output_size) != (1, 1):
        found, said = False, f"{name} with output_size={layer.output_size}"
        reason, step = "windows of different sizes", "use AvgPool2d, or AdaptiveAvgPool2d(1)"
    elif isinstance(layer, nn.ZeroPad2d) and layer.value != 0:
        found, said, reason = False, f"{name} with value={layer.value}", "a padding that is not zero, which adds a bias"
        step = "use value=0"
    elif (wrong := _wrong_number(layer)) is not None:
        found, said, reason = False, f"{name} with {wrong}", "a number for which no rule is known to hold"
        step = "build the layer with its default, or with a finite number in the range that is asked for"
    if not found:
        raise UnsupportedLayer(expected=SUPPORTED, got=said, cause=reason, next_step=step)
    if not isinstance(layer, nn.Sequential | Residual):
        _check_tensors(layer, name, values)


def _wrong_number(layer: nn.Module) -> str | None:
    """A number that a layer was built with and that its rule does not cover, with what is asked for instead."""
    checks: dict[str, tuple[float, bool, str]] = {}
    if isinstance(layer, nn.LeakyReLU):
        checks["negative_slope"] = (layer.negative_slope, layer.negative_slope >= 0, ">= 0")
    elif isinstance(layer, nn.ELU):
        checks["alpha"] = (layer.alpha, layer.alpha > 0, "> 0")
    elif isinstance(layer, nn.Softplus):
        checks["beta"] = (layer.beta, layer.beta > 0, "> 0")
        # Beyond its threshold torch turns to z itself; below 20 that is a large jump, and e^710 overflows before it.
        checks["threshold"] = (layer.threshold, 20 <= layer.threshold <= 700, "from 20 to 700")
    elif isinstance(layer, nn.Hardtanh):  # and ReLU6, which is one
        checks["min_val"] = (layer.min_val, layer.min_val < layer.max_val, "below max_val")
        checks["max_val"] = (layer.max_val, layer.max_val > layer.min_val, "above min_val")
    elif isinstance(layer, NORMALISING):
        checks["eps"] = (layer.eps, layer.eps > 0, "> 0")
    elif isinstance(layer, nn.AvgPool2d):
        for kernel, padding in zip(both(layer.kernel_size), both(layer.padding), strict=False):
            checks["padding"] = (padding, 2 * padding <= kernel, "at most half the kernel")
    for what, (value, holds, asked) in checks.items():
        if not holds or value in ENDLESS:
            return f"{what}={value}, not {asked}"
    return None


def _check_tensors(layer: nn.Module, name: str, values: bool) -> None:
    own = not isinstance(layer, Designed)  # what is inside of those is checked when it is read
    tensors = dict([*layer.named_parameters(recurse=own), *layer.named_buffers(recurse=own)])
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
        tensors = {"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias})
    if isinstance(layer, nn.Linear) and layer.weight.shape != (layer.out_features, layer.in_features):
        raise _other_width(name, layer.in_features, layer.weight.shape[-1])
    for which, parameter in tensors.items():
        if which == "num_batches_tracked":
            continue
        if parameter.is_meta:
            raise InvalidInput(
                expected=f"parameters with values in {name}",
                got=f"`{which}` on the device meta",
                cause="a network that was built without memory for its weights",
                next_step='net.to_empty(device="cpu"), then load its weights',
            )
        if not parameter.is_floating_point() or not parameter.numel():
            raise InvalidInput(
                expected=f"real parameters, at least one, in {name}",
                got=f"`{which}` of shape {tuple(parameter.shape)} and {parameter.dtype}",
                cause="a layer without units, or a complex one",
                next_step="give every layer at least one unit and real weights",
            )
        if not values:
            continue
        # A threshold may be infinite, which clips nothing.
        fine = parameter.isfinite() if isinstance(layer, (*LINEAR, Designed)) else ~parameter.isnan()
        if not (fine & (parameter >= 0) if which == "running_var" else fine).all():
            broken = int((~fine).sum())
            raise InvalidInput(
                expected=f"finite parameters in {name}",
                got=f"{broken} NaN or infinite values in `{which}`" if broken else "a variance below 0",
                cause="training that diverged",
                next_step="load an earlier checkpoint",
            )


def _fit(layer: nn.Module, sample: Tensor, name: str) -> Tensor:
    try:
        return layer(sample)
    except RuntimeError as error:
        raise InvalidInput(
            expected=f"samples that {name} can reshape: {layer}",
            got=f"shape {tuple(sample.shape[1:])}",
            cause="samples of another size",
            next_step="check the shape that comes out of the layer before it",
        ) from error


def _not_flat(name: str, shape: Shape) -> InvalidInput:
    return InvalidInput(
        expected=f"flat samples before {name}",
        got=f"samples of shape {shape}",
        cause="images given to a dense network that does not flatten them",
        next_step="put torch.nn.Flatten() first, or pass x.flatten(1)",
    )


def _other_width(name: str, wanted: int, got: int) -> InvalidInput:
    return InvalidInput(
        expected=f"samples of {wanted} features before {name}",
        got=f"{got} features",
        cause="a point of another data set, or layers whose widths do not fit",
        next_step=f"pass x of shape (batch, {wanted})",
    )
