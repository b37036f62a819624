"""Global constants by other packages; none of them is needed to run the rest.

pip install cvxpy clarabel eclipse-nn
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from torch import Tensor, nn

PACKAGES = ("cvxpy", "clarabel", "eclipse-nn")


def available() -> str:
    """The installed version of every package."""
    found = dict.fromkeys(PACKAGES, "absent")
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return ", ".join(f"{package} {installed}" for package, installed in found.items())


def asked(answer: Callable[[], float | None]) -> float | None:
    """The answer, None with a printed line where a package is absent or does not start here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old packages, on newer torch and scipy
            return answer()
    except ImportError as error:
        print(f"left out: {error}")
        return None


def lipsdp(weights: list[Tensor]) -> float | None:
    """Global Lipschitz constant of a dense net by LipSDP-Neuron, solved by Clarabel and checked: an upper bound.

    weights: the matrices, first to last; the activations between them may have any slope in [0, 1]. The solver's
    value is not used: its multipliers are, after `smallest_certified` has found what they prove.
    Source: Fazlyab et al., "Efficient and accurate estimation of Lipschitz constants for deep neural networks"
    (NeurIPS 2019), with the diagonal multipliers of "LipSDP-Neuron".
    """
    import clarabel  # noqa: F401 - cvxpy finds it by name, and says less clearly when it is absent
    import cvxpy

    matrices = [weight.detach().cpu().double().numpy() for weight in weights]
    scales = [np.linalg.norm(matrix, 2) for matrix in matrices]
    scaled = [matrix / scale for matrix, scale in zip(matrices, scales, strict=True)]
    squared = cvxpy.Variable()
    multipliers = cvxpy.Variable(sum(len(matrix) for matrix in scaled[:-1]), nonneg=True)
    problem = cvxpy.Problem(cvxpy.Minimize(squared), [lmi(scaled, cvxpy.diag(multipliers), squared) << 0])
    problem.solve(solver=cvxpy.CLARABEL)
    if multipliers.value is None:
        print(f"lipsdp: Clarabel says {problem.status}")
        return None
    return float(np.prod(scales) * smallest_certified(scaled, multipliers.value))


def smallest_certified(weights: list[np.ndarray], multipliers: np.ndarray) -> float:
    """The smallest Lipschitz bound that multipliers, or slightly larger ones, prove.

    A Cholesky decomposition decides: inf where none is feasible. Errs above, up to float64 rounding.
    """
    best, size = np.inf, weights[0].shape[1]
    for slack in 10.0 ** np.arange(-10, 0):
        whole = lmi(weights, np.diag(np.maximum(multipliers, 0) * (1 + slack) + slack * 1e-3), 0.0)
        with contextlib.suppress(np.linalg.LinAlgError):
            root = np.linalg.cholesky(-whole[size:, size:])
            reduced = np.linalg.solve(root, whole[size:, :size])
            best = min(best, np.sqrt(np.linalg.eigvalsh(whole[:size, :size] + reduced.T @ reduced)[-1]))
    return best


def lmi(weights: list[np.ndarray], multipliers: Any, squared: Any) -> Any:
    """LipSDP's matrix: squared bounds the squared constant if no eigenvalue is above 0; multipliers: diagonal, ≥ 0."""
    widths = [weight.shape[1] for weight in weights]
    inputs, *hidden = np.split(np.eye(sum(widths)), np.cumsum(widths)[:-1])
    before = np.concatenate([weight @ read for weight, read in zip(weights, [inputs, *hidden], strict=True)][:-1])
    after, outputs = np.concatenate(hidden), weights[-1] @ hidden[-1]
    crossed = after.T @ multipliers @ before
    flat = after.T @ multipliers @ after
    return outputs.T @ outputs - squared * (inputs.T @ inputs) + crossed + crossed.T - 2 * flat


def eclipse(net: nn.Sequential) -> float:
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
