"""Other packages' answers to the questions the benchmarks ask; none of them is needed to run the rest.

    pip install cvxpy clarabel eclipse-nn foolbox
    pip install --no-deps auto_LiRPA==0.3 && pip install appdirs tqdm

A package that is absent, or that will not start here, leads to one printed line and to None.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.nets import ClippedReLU

__all__ = ["available", "eclipse", "foolbox_pgd", "lipsdp", "lirpa_boxes", "lmi", "smallest_certified"]

PACKAGES = ("cvxpy", "clarabel", "eclipse-nn", "auto_LiRPA", "foolbox")


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
def eclipse(
    net: nn.Sequential, center: Tensor | None = None, eps: float | None = None, *, algorithm: str | None = None
) -> float | None:
    """Lipschitz constant of a dense ReLU net in L2, by ECLipsE: meant as an upper bound, whose rounding is not checked.

    Without center: global, algorithm "ECLipsE_Fast" (closed form, default) or "ECLipsE" (one SDP a layer, by SCS).
    With center (features,) and eps: in the L2 ball, algorithm "Fast" (default), "Acc" (SDPs) or "CF" (closed form).
    NaN where the package gives up. Layers that are not Linear or ReLU would be ignored by it, so they are refused.
    Source: Xu and Sivaranjani, "ECLipsE" (NeurIPS 2024) and "ECLipsE-Gen-Local" (TMLR 2026).
    """
    from eclipse_nn import LipConstEstimator

    layers = [layer for layer in net if not isinstance(layer, nn.Flatten)]
    alternating = len(layers) % 2 and all(type(a) is (nn.Linear, nn.ReLU)[i % 2] for i, a in enumerate(layers))
    if not alternating or any(isinstance(layer, nn.Linear) and layer.bias is None for layer in layers):
        raise ValueError("expected Linear layers with biases, ReLU between them")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        estimator = LipConstEstimator(model=nn.Sequential(*layers))
        if center is None:
            return float(estimator.estimate(algorithm or "ECLipsE_Fast"))
        center = center.detach().cpu().double().flatten()
        bound, _, _ = estimator.estimate_gen_local(center, eps, actv="relu", algo=algorithm or "Fast")
    return float(bound)


@or_absent
def lirpa_boxes(
    net: nn.Sequential, x: Tensor, eps: float, *, method: str = "CROWN"
) -> list[tuple[Tensor, Tensor]] | None:
    """Pre-activation boxes over the L2 ball by auto_LiRPA, a (lower, upper) per activation and one for the outputs.

    net: Linear, Conv2d, Flatten, ReLU and ClippedReLU (whose thresholds are one for all, per channel or, without image
    axes, per unit). x: (batch, *sample). method: "CROWN" (default), "IBP" or "IBP+backward".
    Sound in real arithmetic, in the dtype of the net. Each layer is bounded as the last one of a network cut there.
    Source: Xu et al., "Automatic perturbation analysis for scalable certified robustness and beyond" (NeurIPS 2020).
    """
    _mend_lirpa()
    from auto_LiRPA import BoundedModule, BoundedTensor
    from auto_LiRPA.perturbations import PerturbationLpNorm

    boxes = []
    x, so_far, shape = x.detach(), nn.Sequential(), x.shape
    for layer in [*net, None]:
        if layer is None or isinstance(layer, nn.ReLU | ClippedReLU):
            bounded = BoundedModule(nn.Sequential(*so_far, nn.Flatten()), x, device=str(x.device))
            ball = BoundedTensor(x, PerturbationLpNorm(norm=2, eps=eps))
            lower, upper = bounded.compute_bounds(x=(ball,), method=method)
            boxes.append((lower.detach().view(shape), upper.detach().view(shape)))
        if layer is not None:
            so_far.extend(_clip(layer.theta, shape[1:]) if isinstance(layer, ClippedReLU) else [layer])
            shape = so_far(x).shape
    return boxes


@or_absent
def foolbox_pgd(
    net: nn.Module, x: Tensor, y: Tensor, eps: float, *, steps: int = 50, restarts: int = 5, box: bool = False
) -> Tensor | None:
    """Which points Foolbox's L2-PGD breaks within eps, (batch,) bool: an attack, so it misses some and invents none.

    Misclassified points count as broken. box=False lets it leave [0, 1], as certificates without an input domain do.
    Source: Rauber et al., "Foolbox Native" (JOSS 2020).
    """
    import foolbox

    limits = (0.0, 1.0) if box else (-1e3, 1e3)
    model = foolbox.PyTorchModel(net.eval(), bounds=limits, device=x.device)
    attack = foolbox.attacks.L2ProjectedGradientDescentAttack(rel_stepsize=2.5 / steps, steps=steps)
    _, clipped, broken = attack.repeat(restarts)(model, x, y, epsilons=eps)
    inside = (clipped - x).flatten(1).norm(dim=1) <= eps * (1 + 1e-4)
    return broken & inside


def _clip(theta: Tensor, shape: tuple[int, ...]) -> nn.Sequential:
    """The clipped ReLU as θ − relu(θ − relu(z)): auto_LiRPA has no rule for a minimum."""
    channels, rest = shape[0], shape[1:]
    threshold = theta.detach().relu().expand(channels, *[1] * len(rest)).flatten()
    flip = nn.Conv2d(channels, channels, 1) if rest else nn.Linear(channels, channels)
    identity = torch.eye(channels, dtype=theta.dtype, device=theta.device)
    flip.weight = nn.Parameter(-identity.view(flip.weight.shape))
    flip.bias = nn.Parameter(threshold)
    return nn.Sequential(nn.ReLU(), flip, nn.ReLU(), flip)


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


def _mend_lirpa() -> None:
    """Give auto_LiRPA 0.3, made for torch 1.12 and numpy 1, the three private names that newer versions dropped."""
    if "numpy.lib.arraysetops" not in sys.modules:
        stand_in = ModuleType("numpy.lib.arraysetops")
        stand_in.isin = np.isin  # type: ignore[attr-defined]
        sys.modules[stand_in.__name__] = stand_in
    from torch.onnx._internal.torchscript_exporter._globals import GLOBALS

    symbolic_helper = import_module("torch.onnx.symbolic_helper")  # the attribute of torch.onnx is another module

    def set_version(number: int) -> None:
        GLOBALS.export_onnx_opset_version = number

    if not hasattr(symbolic_helper, "_set_opset_version"):
        symbolic_helper._set_opset_version = set_version
    if not hasattr(torch._C.Node, "__getitem__"):
        torch._C.Node.__getitem__ = lambda node, name: getattr(node, node.kindOf(name))(name)
