"""Other packages' answers to the questions the benchmarks ask; none of them is needed to run the rest.

    pip install cvxpy clarabel eclipse-nn

A package that is absent, or that will not start here, leads to one printed line and to None.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from torch import Tensor, nn

__all__ = ["available", "eclipse", "lipsdp", "lmi", "smallest_certified"]

PACKAGES = ("cvxpy", "clarabel", "eclipse-nn")


def available() -> dict[str, str | None]:
    """Installed version of every rival, None where it is absent."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def or_absent(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; where the import inside it fails it prints one line and returns None."""

    @wraps(answer)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old packages, on newer torch and scipy
                return answer(*arguments, **options)
        except ImportError as error:
            print(f"{answer.__name__} left out: {error}")
            return None

    return wrapped


@or_absent
def lipsdp(weights: list[Tensor]) -> float | None:
    """Global Lipschitz constant of a dense net by LipSDP-Neuron, solved by Clarabel and checked: an upper bound.

    weights: the matrices, first to last; the activations between them may have any slope in [0, 1]. The solver's
    value is not used: its multipliers are, after `smallest_certified` has found what they prove.
    Source: Fazlyab et al., "Efficient and accurate estimation of Lipschitz constants for deep neural networks"
    (NeurIPS 2019), with the diagonal multipliers of "LipSDP-Neuron".
    """
    import clarabel  # noqa: F401 - cvxpy finds it by name, and says less clearly when it is absent
    import cvxpy

    matrices = [_array(weight) for weight in weights]
    scales = [np.linalg.norm(matrix, 2) for matrix in matrices]
    scaled = [matrix / scale for matrix, scale in zip(matrices, scales, strict=True)]
    squared = cvxpy.Variable()
    multipliers = cvxpy.Variable(sum(matrix.shape[0] for matrix in scaled[:-1]), nonneg=True)
    before, after, inputs, outputs = _selections(scaled)
    crossed = after.T @ cvxpy.diag(multipliers) @ before
    matrix = (
        outputs.T @ outputs
        - squared * (inputs.T @ inputs)
        + crossed
        + crossed.T
        - 2 * (after.T @ cvxpy.diag(multipliers) @ after)
    )
    problem = cvxpy.Problem(cvxpy.Minimize(squared), [matrix << 0])
    problem.solve(solver=cvxpy.CLARABEL)
    if multipliers.value is None:
        print(f"lipsdp: Clarabel says {problem.status}")
        return None
    bound, _ = smallest_certified(scaled, multipliers.value)
    return float(np.prod(scales) * bound)


def smallest_certified(weights: list[np.ndarray], multipliers: np.ndarray) -> tuple[float, np.ndarray]:
    """The smallest Lipschitz bound that multipliers (or slightly larger ones) prove, and those that prove it.

    A Cholesky decomposition decides: inf where none is feasible. Errs above, up to float64 rounding.
    """
    best, chosen = np.inf, multipliers
    for slack in 10.0 ** np.arange(-10, 0):
        larger = np.maximum(multipliers, 0) * (1 + slack) + slack * 1e-3
        whole, size = lmi(weights, larger, 0.0), weights[0].shape[1]
        try:
            root = np.linalg.cholesky(-whole[size:, size:])
        except np.linalg.LinAlgError:
            continue
        reduced = np.linalg.solve(root, whole[size:, :size])
        bound = np.sqrt(np.linalg.eigvalsh(whole[:size, :size] + reduced.T @ reduced)[-1])
        if bound < best:
            best, chosen = float(bound), larger
    return best, chosen


def lmi(weights: list[np.ndarray], multipliers: np.ndarray, bound: float) -> np.ndarray:
    """LipSDP's matrix: bound is a Lipschitz constant if no eigenvalue is above 0 and no multiplier below."""
    before, after, inputs, outputs = _selections(weights)
    crossed = after.T @ (multipliers[:, None] * before)
    flat = after.T @ (multipliers[:, None] * after)
    return outputs.T @ outputs - bound**2 * (inputs.T @ inputs) + crossed + crossed.T - 2 * flat


@or_absent
def eclipse(net: nn.Sequential) -> float | None:
    """Global Lipschitz constant of a dense ReLU net by ECLipsE-Fast: an upper bound, whose rounding is not checked.

    NaN where the package gives up. Layers that are not Linear or ReLU would be ignored by it, so they are refused.
    Source: Xu and Sivaranjani, "ECLipsE" (NeurIPS 2024).
    """
    from eclipse_nn import LipConstEstimator

    layers = [layer for layer in net if not isinstance(layer, nn.Flatten)]
    alternating = len(layers) % 2 and all(type(a) is (nn.Linear, nn.ReLU)[i % 2] for i, a in enumerate(layers))
    if not alternating or any(isinstance(layer, nn.Linear) and layer.bias is None for layer in layers):
        raise ValueError("expected Linear layers with biases, ReLU between them")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        return float(LipConstEstimator(model=nn.Sequential(*layers)).estimate("ECLipsE_Fast"))


def _selections(weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Matrices that read (pre-activations, activations, inputs, outputs) off (inputs, all hidden activations)."""
    widths = [weights[0].shape[1], *(weight.shape[0] for weight in weights[:-1])]
    starts = np.cumsum([0, *widths])
    identity = np.eye(starts[-1])
    before = np.concatenate(
        [weight @ identity[starts[k] : starts[k + 1]] for k, weight in enumerate(weights[:-1])], axis=0
    )
    outputs = weights[-1] @ identity[starts[-2] :]
    return before, identity[widths[0] :], identity[: widths[0]], outputs


def _array(weight: Tensor) -> np.ndarray:
    return weight.detach().cpu().double().numpy()
