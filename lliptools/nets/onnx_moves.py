"""The operators of ONNX that move entries, as operations of torch; options and inputs as of onnx_operators.py."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

F = nn.functional


def whole(values: Any) -> list[int]:
    """Whole numbers, of a list or an array."""
    return [int(value) for value in np.asarray(values).flatten()]


def axes_of(options: dict[str, Any], axes: Any) -> list[int] | None:
    """Axes, which are an option or, in newer files, an input."""
    given = options.get("axes") if axes is None else axes
    return None if given is None else whole(given)


def reshaped(options: dict[str, Any], x: Tensor, shape: Any) -> Tensor:
    """Reshape."""
    sizes = whole(shape)
    kept = not options.get("allowzero", 0)
    return x.reshape([x.shape[k] if kept and size == 0 else size for k, size in enumerate(sizes)])


def padded(options: dict[str, Any], x: Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    """Pad."""
    widths = whole(options["pads"] if pads is None else pads)
    names = range(x.dim()) if axes is None else [axis % x.dim() for axis in whole(axes)]
    sides = dict(zip(names, zip(widths[: len(widths) // 2], widths[len(widths) // 2 :], strict=True), strict=True))
    first = min((axis for axis, side in sides.items() if any(side)), default=x.dim())
    flat = [width for axis in range(x.dim() - 1, first - 1, -1) for width in sides.get(axis, (0, 0))]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    mode_of = mode[options.get("mode", "constant")]
    constant = float(options.get("value", 0.0) if value is None else value)
    if not flat:
        return x
    return F.pad(x, flat, mode_of, constant) if mode_of == "constant" else F.pad(x, flat, mode_of)


def sliced(options: dict[str, Any], x: Tensor, *given: Any) -> Tensor:
    """Starts, ends, axes and steps are inputs, or in old files options."""
    names = ("starts", "ends", "axes", "steps")
    inputs = dict(zip(names, given, strict=False))
    found: list[Any] = [options.get(name) if inputs.get(name) is None else whole(inputs[name]) for name in names]
    starts, ends, axes, steps = found
    axes, steps = axes or range(len(starts)), steps or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        end = None if step < 0 and end < -x.shape[axis] else end
        x = x.index_select(axis, torch.as_tensor(range(x.shape[axis])[slice(start, end, step)]))
    return x


def gathered(options: dict[str, Any], x: Tensor, index: Any) -> Tensor:
    """Gather of one axis."""
    axis = options.get("axis", 0)
    found = x.index_select(axis, torch.as_tensor([place % x.shape[axis] for place in whole(index)]))
    if np.ndim(index) > 1:
        raise ValueError("indices of several axes")
    return found if np.ndim(index) else found.squeeze(axis)


def split(options: dict[str, Any], x: Tensor, sizes: Any = None) -> Sequence[Tensor]:
    """Split: num_outputs parts, of the same size where none are given."""
    axis, given = options.get("axis", 0), options.get("split") if sizes is None else whole(sizes)
    parts = x.split(given or -(-x.shape[axis] // options["num_outputs"]), axis)
    if len(parts) != options["num_outputs"]:
        raise ValueError("another number of parts than of outputs")
    return parts


def unsqueezed(options: dict[str, Any], x: Tensor, axes: Any = None) -> Tensor:
    """Unsqueeze."""
    named = axes_of(options, axes) or []
    for axis in sorted(axis % (x.dim() + len(named)) for axis in named):
        x = x.unsqueeze(axis)
    return x


def squeezed(options: dict[str, Any], x: Tensor, axes: Any = None) -> Tensor:
    """Squeeze."""
    named = axes_of(options, axes)
    return x.squeeze() if named is None else x.squeeze(named)


def resized(options: dict[str, Any], x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None) -> Tensor:
    """Pixels repeated, as torch's exporter writes it."""
    how = [options.get(name) for name in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    if how != ["nearest", "asymmetric", "floor"]:
        raise ValueError("only repetition, from the upper left")
    if "axes" in options or options.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("axes, or an aspect ratio that is kept")
    given = np.asarray(scales) if sizes is None else np.asarray(sizes) / x.shape
    factors = whole(given)
    if factors != given.tolist() or len(factors) != x.dim() or factors[:2] != [1, 1] or min(factors) < 1:
        raise ValueError(f"scales {given.tolist()} that are not whole numbers, 1 for samples and channels")
    for axis, factor in enumerate(factors):
        x = x.index_select(axis, torch.tensor([place // factor for place in range(x.shape[axis] * factor)]))
    return x


def depth_to_space(options: dict[str, Any], x: Tensor) -> Tensor:
    """DepthToSpace."""
    n = options["blocksize"]
    if options.get("mode", "DCR") == "DCR":  # the place in a block counts before the channel
        x = x.unflatten(1, (n * n, -1)).transpose(1, 2).flatten(1, 2)
    return F.pixel_shuffle(x, n)


def space_to_depth(options: dict[str, Any], x: Tensor) -> Tensor:
    """SpaceToDepth."""
    n = options["blocksize"]
    return F.pixel_unshuffle(x, n).unflatten(1, (-1, n * n)).transpose(1, 2).flatten(1, 2)
