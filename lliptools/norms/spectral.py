"""The norm of a layer by any method, and the registry of methods."""

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer, check_among, in_words
from lliptools.nets import LinearMap, read_blocks
from lliptools.norms.aposteriori import AposterioriNorm
from lliptools.norms.auto import UpperNorm
from lliptools.norms.cholesky import CholeskyNorm
from lliptools.norms.exact import exact_norm
from lliptools.norms.fourier import torus_norm
from lliptools.norms.gram import GramNorm
from lliptools.norms.kinds import Norm
from lliptools.norms.lanczos import LanczosNorm
from lliptools.norms.power import PowerNorm
from lliptools.norms.sums import sums_norm

METHODS: dict[str, Norm] = {
    "auto": UpperNorm(),
    "exact": exact_norm,
    "gram": GramNorm(),
    "fft": torus_norm,
    "cholesky": CholeskyNorm(),
    "sums": sums_norm,
    "aposteriori": AposterioriNorm(),
    "lanczos": LanczosNorm(20),
    "power": PowerNorm(20),
}


def spectral_norm(
    layer: nn.Module | LinearMap | Tensor,
    method: str = "auto",
    *,
    input_shape: tuple[int, ...] | None = None,
    steps: int | None = None,
) -> Tensor:
    """The norm of a linear layer, of a Sequential of such, or of a matrix (rows, columns): a 0-dim float64 tensor.

    method: "exact"; "gram", "fft", "cholesky", "sums" (upper bounds); "aposteriori" (upper with probability 1 − 1e-9);
    "lanczos", "power" (lower bounds); "auto", the cheapest that is an upper bound. METHODS[method].kind says how each
    errs. input_shape: of a convolution's images. steps: of an iterative method. Raises InvalidInput, UnsupportedLayer.
    """
    check_among("method", method, METHODS, 'leave it at "auto"')
    norm = METHODS[method]
    if steps is not None:
        if not isinstance(norm, GramNorm | LanczosNorm | PowerNorm | AposterioriNorm):
            why = "a method that has no steps", 'use method="gram", "lanczos", "power" or "aposteriori"'
            raise InvalidInput("steps with an iterative method", f"steps={steps} with method={method!r}"[:80], *why)
        norm = type(norm)(steps=steps)
    why = "another object, or an option that was changed after the layer was built", "pass x.shape[1:], with x it takes"
    with in_words("a linear layer or a matrix, and the shape of a sample", *why):
        linear = _linear_of(layer, input_shape)
        every = [linear.bias.new_ones(1, *shape, dtype=torch.float64) for shape in (linear.out_shape, linear.in_shape)]
        with torch.set_grad_enabled(torch.is_grad_enabled() and method in {"exact", "gram", "lanczos", "power"}):
            return norm(linear, *every)[0]


def _linear_of(layer: nn.Module | LinearMap | Tensor, input_shape: tuple[int, ...] | None) -> LinearMap:
    if isinstance(layer, LinearMap):
        return layer
    if isinstance(layer, Tensor):
        if layer.dim() != 2 or not layer.numel() or not layer.is_floating_point() or not layer.isfinite().all():
            got = f"shape {tuple(layer.shape)} of {layer.dtype}"
            cause = "the kernel of a convolution, which is not the matrix of the convolution"
            step = "pass the layer itself and input_shape"
            raise InvalidInput("a matrix (rows, columns) of finite real numbers", got, cause, step)
        return LinearMap.dense(layer.double())
    net = layer if type(layer) is nn.Sequential else nn.Sequential(layer)
    if input_shape is None:
        kinds = nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d
        first = next((part for part in net.modules() if isinstance(part, kinds)), None)
        if isinstance(first, nn.Linear):
            input_shape = (first.in_features,)
        elif isinstance(first, nn.BatchNorm1d | nn.BatchNorm2d) and len(net) == 1:
            input_shape = (first.num_features, *[1] * (2 * isinstance(first, nn.BatchNorm2d)))
        else:
            expected = "input_shape, the shape of one sample, as (channels, *size) of an image"
            cause = "a layer whose norm depends on the size of its samples"
            step = "spectral_norm(layer, input_shape=x.shape[1:])"
            raise InvalidInput(expected, f"None with {type(first or layer).__name__}", cause, step)
    blocks = read_blocks(net, torch.Size(input_shape))
    if len(blocks) != 1 or blocks[0].activation is not None:
        why = "only linear maps have a norm", "use lliptools.global_bound for a network"
        raise UnsupportedLayer("linear layers only", "a network with an activation", *why)
    return blocks[0].linear
