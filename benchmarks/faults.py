"""Faults made by hand in bounds and certificates, which are false then: which test notices, and how soon.

    python benchmarks/faults.py           # measures what is not there yet, writes benchmarks/results/faults.md
    python benchmarks/faults.py --page    # benchmarks/results/faults.md from what is there

Every fault is put into a copy of the tracked files. The tests most likely to notice it run first, and all tests of
bounds and certificates only where those stay green. Every run appends one line to benchmarks/results/faults.jsonl; a
fault that was noticed is measured again when its file has changed, and one that was not, every time.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import machine, table

ROOT = Path(__file__).parents[1]
LINES = ROOT / "benchmarks" / "results" / "faults.jsonl"
ROOMS = ["bounds", "layers", "nets"]
WHOLE = [
    *ROOMS,
    *(f"test_{name}.py" for name in ("certificates", "margins", "cascade", "accuracy", "soundness", "enclosure")),
]
LONGEST = 1800  # seconds


@dataclass(frozen=True)
class Fault:
    """What a developer might have written: new in the place of old, which occurs once in a file of lliptools.

    wrong: what is then wrong. tests: those that run first, below tests/.
    """

    file: str
    old: str
    new: str
    wrong: str
    tests: str

    @property
    def text(self) -> str:
        """The file as it is."""
        return (ROOT / "lliptools" / self.file).read_text()

    @property
    def key(self) -> str:
        """Of the file as it is, and of the fault."""
        return hashlib.sha256("\0".join((self.text, self.old, self.new)).encode()).hexdigest()[:16]

    def applied(self) -> str:
        """The file with the fault."""
        if (found := self.text.count(self.old)) != 1:
            raise SystemExit(f"expected once in {self.file}, found {found} times: {self.old}")
        return self.text.replace(self.old, self.new)


FAULTS = [
    Fault(
        "bounds/boxes.py",
        "middle = linear.apply(between)",
        "middle = linear.linear(between)",
        "A box has its middle without the bias.",
        "bounds/test_grid.py::test_boxes_hold_every_sample",
    ),
    Fault(
        "bounds/boxes.py",
        "norms = linear.row_norms(column_slope)",
        "norms = linear.row_norms(column_slope.square())",
        "The rows of the ball's box have slopes squared, too small where a slope is neither 0 nor 1.",
        "bounds/test_grid.py::test_boxes_hold_every_sample bounds/test_false_theorems.py",
    ),
    Fault(
        "bounds/rounding.py",
        "(share + linear.relative_error) * size)",
        "linear.relative_error * size)",
        "The rounding of a sum is not enclosed.",
        "bounds/test_rounding.py bounds/test_false_theorems.py",
    ),
    Fault(
        "bounds/rounding.py",
        "return torch.maximum(high - value, value - low)",
        "return torch.minimum(high - value, value - low)",
        "The doubt of a unit at its bend is that of its better side.",
        "bounds/test_rounding.py::test_doubt_is_carried_on",
    ),
    Fault(
        "bounds/rounding.py",
        "doubt = self.doubt.reshape(other.doubt.shape) + other.doubt",
        "doubt = other.doubt",
        "What is not known of the skipped path of a residual step is forgotten.",
        "bounds/test_rounding.py::test_doubt_is_carried_on",
    ),
    Fault(
        "bounds/rounding.py",
        "reach = reach + (size.flatten(1) @ linear.matrix_error.T).reshape(reach.shape)",
        "reach = reach + (moved.flatten(1) @ linear.matrix_error.T).reshape(reach.shape)",
        "The error of a matrix of several layers is weighed by how far the inputs move, not by their size.",
        "bounds/test_rounding.py bounds/test_false_theorems.py",
    ),
    Fault(
        "bounds/one_pass.py",
        "box = Box.outward(box.lower - before.doubt, box.upper + before.doubt)",
        "box = Box.outward(box.lower + before.doubt, box.upper - before.doubt)",
        "The doubt of the centre narrows the box: a rounding slack with the wrong sign.",
        "bounds/test_rounding.py bounds/test_false_theorems.py bounds/test_known_constants.py",
    ),
    Fault(
        "bounds/one_pass.py",
        "norm = _at_most(norm_by(stages.norm, linear, row_slope, state.slope), linear, row_slope, state.slope)",
        "norm = _at_most(norm_by(stages.norm, linear, slope, state.slope), linear, row_slope, state.slope)",
        "Rows are struck by the slopes of the outputs, though both outputs of a pair read both rows.",
        "bounds/test_known_constants.py bounds/test_grid.py::test_local_lies_between_sampled_slopes_and_global",
    ),
    Fault(
        "bounds/one_pass.py",
        "norm = _at_most(norm_by(stages.norm, linear, row_slope, state.slope), linear, row_slope, state.slope)",
        "norm = _at_most(norm_by(stages.norm, linear, row_slope, state.slope), linear, state.slope)",
        "A layer's own guarantee leaves out that a steep activation follows.",
        "layers/test_in_bounds.py bounds/test_false_theorems.py",
    ),
    Fault(
        "bounds/one_pass.py",
        "norm = inflated(_steepest(state.slope) + norm)",
        "norm = inflated(torch.maximum(_steepest(state.slope), norm))",
        "A residual step has the larger of the two constants instead of their sum.",
        "bounds/test_known_constants.py bounds/test_grid.py::test_local_lies_between_sampled_slopes_and_global",
    ),
    Fault(
        "bounds/one_pass.py",
        "value = step.lipschitz * (1 + step.lipschitz_error) if is_outward() else step.lipschitz",
        "value = step.lipschitz",
        "The rounding of a layer's guarantee is not enclosed.",
        "layers/test_in_bounds.py::test_what_the_guarantee_is_worth",
    ),
    Fault(
        "bounds/one_pass.py",
        "grown, everywhere = whole.expand_as(norm), columns",
        "grown, everywhere = whole.expand_as(norm), torch.ones_like(columns)",
        "Global radii forget the slopes of the layer before.",
        "bounds/test_false_theorems.py",
    ),
    Fault(
        "bounds/norms.py",
        "column_slope.gather(1, columns).sqrt()[:, None]",
        "column_slope.gather(1, columns)[:, None]",
        "Columns are scaled by their slopes instead of the roots.",
        "bounds/test_norms.py",
    ),
    Fault(
        "bounds/norms.py",
        "squared = torch.linalg.eigvalsh(gram)[:, -1]\n    if",
        "squared = gram.diagonal(dim1=1, dim2=2).amax(dim=1)\n    if",
        "The norm is that of the longest row, a lower bound.",
        "bounds/test_norms.py",
    ),
    Fault(
        "bounds/norms.py",
        "every = torch.cat(norms)[torch.cat(found).argsort()]",
        "every = torch.cat(norms)[torch.cat(found)]",
        "Norms that were found in groups come back in another order of samples.",
        "bounds/test_norms.py bounds/test_grid.py::test_a_batch_is_its_points",
    ),
    Fault(
        "bounds/norms.py",
        "        every = every + matrix_slack(linear, row_slope, column_slope)\n",
        "        every = every - matrix_slack(linear, row_slope, column_slope)\n",
        "The slack for the rounding of the matrix has the wrong sign.",
        "bounds/test_spectral.py::test_norms_under_masks_err_as_they_say bounds/test_rounding.py",
    ),
    Fault(
        "bounds/spectral.py",
        ".bracket(linear, row_slope, column_slope, whole)[1]",
        ".bracket(linear, row_slope, column_slope, whole)[0]",
        "The norm of a large layer is the Ritz value, its lower bound.",
        "bounds/test_spectral.py::test_a_large_layer_has_the_bound_and_not_the_ritz_value",
    ),
    Fault(
        "bounds/aposteriori.py",
        "target = np.log(2 * dimension / math.pi) - 2 * math.log(delta)",
        "target = np.log(2 * dimension / math.pi) - math.log(delta)",
        "The probability is not squared in the polynomials' sum: the bound fails with √δ.",
        "bounds/test_spectral.py",
    ),
    Fault(
        "bounds/aposteriori.py",
        "self._bracket(scaled, self.delta / batch, known)",
        "self._bracket(scaled, self.delta, known)",
        "The failure probability is not divided over the samples of a batch.",
        "bounds/test_spectral.py::test_samples_share_the_failure_probability",
    ),
    Fault(
        "bounds/aposteriori.py",
        "GolubKahan(scaled, fresh_start(scaled))",
        "GolubKahan(scaled, torch.ones_like(fresh_start(scaled)) * live)",
        "The start is the same each time instead of drawn: a matrix may hide its norm from it.",
        "bounds/test_spectral.py",
    ),
    Fault(
        "bounds/product.py",
        'UpperNorm(delta / (2 * count if radii == "global" else count), tolerance)',
        "UpperNorm(delta, tolerance)",
        "The failure probability is not divided over the layers.",
        "bounds/test_spectral.py::test_failure_probability_is_carried",
    ),
    Fault(
        "bounds/product.py",
        '_failure(norm, blocks) * (2 if radii == "global" else 1)',
        "_failure(norm, blocks)",
        "Of norms that are found twice, the failure probability is counted once.",
        "bounds/test_spectral.py::test_failure_probability_is_carried",
    ),
    Fault(
        "bounds/product.py",
        'if marks <= {"exact", "upper"}',
        'if marks & {"exact", "upper"}',
        "One sound stage is enough for a bound to be called upper.",
        "bounds/test_grid.py::test_a_changed_norm_is_only_an_estimate",
    ),
    Fault(
        "bounds/torus.py",
        "-(-(n + r - 1) // s) + 1 for n, r, s in zip(operator.padded, reach, operator.stride, strict=True)",
        "-(-n // s) for n, s in zip(operator.in_shape[1:], operator.stride, strict=True)",
        "The torus is as large as the image, so that zero padding counts as circular padding.",
        "bounds/test_spectral.py::test_tori_that_a_smaller_one_would_not_replace",
    ),
    Fault(
        "bounds/torus.py",
        "return math.sqrt(copies) * _convolution(plain)",
        "return _convolution(plain)",
        "That circular padding repeats pixels is left out, a factor of √2 or more.",
        "bounds/test_spectral.py::test_tori_that_a_smaller_one_would_not_replace",
    ),
    Fault(
        "bounds/torus.py",
        "tuple(1 for _ in operator.dilation) if set(operator.stride) == {1} else operator.dilation",
        "tuple(1 for _ in operator.dilation)",
        "A dilated kernel with a stride counts as the kernel without its dilation.",
        "bounds/test_spectral.py::test_tori_that_a_smaller_one_would_not_replace",
    ),
    Fault(
        "bounds/record.py",
        "product.nan_to_num(nan=torch.inf, posinf=torch.inf)",
        "product.nan_to_num(nan=0.0, posinf=torch.inf)",
        "A product that is not a number counts as 0.",
        "test_certificates.py::test_numbers_that_are_not_finite_never_certify",
    ),
    Fault(
        "bounds/record.py",
        "torch.where(lower.isfinite(), lower, -nothing)",
        "lower.nan_to_num()",
        "A side of a box that is not a number counts as 0.",
        "bounds/test_known_constants.py",
    ),
    Fault(
        "bounds/record.py",
        "return product_above(self.hidden()[:, None], between_rows(last.linear, y, columns))",
        "return product_above(self.value[:, None], (between_rows(last.linear, y, columns) > 0).to(self.value.dtype))",
        "The difference of two outputs has the constant of all outputs: √2 is dropped.",
        "bounds/test_grid.py::test_pairwise_bounds_the_margin",
    ),
    Fault(
        "bounds/zonotope.py",
        "p * q / torch.where(p + q > 0, p + q, 1.0)",
        "p * q / (2 * torch.where(p + q > 0, p + q, 1.0))",
        "What a smooth activation leaves of its chord is halved.",
        "bounds/test_grid.py::test_boxes_hold_every_sample nets/test_activations.py",
    ),
    Fault(
        "bounds/zonotope.py",
        "torch.nn.functional.pad(earlier.of_noise, (0, 0, 0, missing))",
        "torch.nn.functional.pad(earlier.of_noise, (0, 0, missing, 0))",
        "The noises of a skipped path are taken for those of the units inside: the wrong block.",
        "bounds/test_grid.py::test_boxes_hold_every_sample",
    ),
    Fault(
        "bounds/merged.py",
        "middle, radius = (least + greatest) / 2, (greatest - least).abs() / 2",
        "middle, radius = least, (greatest - least).abs() / 2",
        "The slopes of an open unit are centred at the least of them: the steeper half is missing.",
        "bounds/test_merged.py::test_no_sampled_slope_is_above_any_rung",
    ),
    Fault(
        "bounds/merged.py",
        "torch.cat([fed, -fed], dim=2)",
        "torch.cat([fed, fed], dim=2)",
        "An open pair moves its maximum and its minimum the same way.",
        "bounds/test_merged.py::test_no_sampled_slope_is_above_any_rung",
    ),
    Fault(
        "bounds/scaled.py",
        "torch.where(values > 0, scaled.clamp_min(torch.finfo(torch.float64).tiny), scaled) if upward else scaled",
        "scaled",
        "A bound below the smallest number counts as 0.",
        "bounds/test_merged.py",
    ),
    Fault(
        "bounds/steps.py",
        "compared = activation.compare(box.lower), activation.compare(box.upper)",
        "compared = box.lower, box.upper",
        "What clips a pair is asked for the inputs' boxes instead of those of maximum and minimum.",
        "bounds/test_rungs.py::test_no_rung_falls_below_a_sample",
    ),
    Fault(
        "bounds/ellipsoid.py",
        "feasible = (failed == 0) & multipliers.isfinite()",
        "feasible = multipliers.isfinite()",
        "Multipliers of which the Cholesky failed count as feasible.",
        "bounds/test_merged.py::test_wrong_multipliers_prove_nothing",
    ),
    Fault(
        "bounds/ellipsoid.py",
        "shape = self.oo + out.mT @ out + half.mT @ half",
        "shape = self.oo + half.mT @ half",
        "What undecided units of the last layer feed is left out.",
        "bounds/test_merged.py::test_no_sampled_slope_is_above_any_rung",
    ),
    Fault(
        "bounds/multipliers.py",
        "pairs = merged.differences(y[index.to(y.device)])",
        "pairs = merged.differences(y[: len(index)])",
        "Pairs of classes are those of the first labels, not of the samples of the group.",
        "bounds/test_merged.py bounds/test_rungs.py::test_no_rung_falls_below_a_sample",
    ),
    Fault(
        "bounds/rungs.py",
        "y = y.to(found.device, torch.int64)[self.points]",
        "y = y.to(found.device, torch.int64)[: len(self.points)]",
        "The points that multipliers serve get the labels of the first points.",
        "bounds/test_rungs.py::test_multipliers_keep_to_their_points",
    ),
    Fault(
        "bounds/exact.py",
        "[_norms(j, e).amax() for j, e",
        "[_norms(j, e)[0] for j, e",
        "The exact constant is that of one region instead of the largest.",
        "bounds/test_exact.py",
    ),
    Fault(
        "bounds/exact_cells.py",
        "clip(polygon, -a, -b, moved - t)",
        "clip(polygon, -a, -b, -moved - t)",
        "Lines are moved inward instead of outward on one side.",
        "bounds/test_exact.py::test_a_plane_that_rounding_puts_outside_of_the_ball bounds/test_exact.py",
    ),
    Fault(
        "bounds/exact_patterns.py",
        "for number in range(lowest, highest + 1):",
        "for number in range(lowest, highest + 1)[:2]:",
        "Of the pieces of a unit with two bends the last is not searched.",
        "bounds/test_exact.py",
    ),
    Fault(
        "bounds/pieces.py",
        "far = np.abs(offset) > 1 + slack",
        "far = np.abs(offset) > 1",
        "A hyperplane that rounding puts just outside the ball counts as outside.",
        "bounds/test_exact.py::test_a_plane_that_rounding_puts_outside_of_the_ball bounds/test_exact.py",
    ),
    Fault(
        "bounds/sides.py",
        "return 1 if ahead >= 0 else 0",
        "return 1",
        "Parallel hyperplanes that agree to within rounding are taken for one.",
        "bounds/test_exact_slivers.py",
    ),
    Fault(
        "bounds/sampled.py",
        ".view(batch, 3).amin(dim=1)",
        ".view(batch, 3).amax(dim=1)",
        "The lower bound takes the largest derivative at a kink, which belongs to no region.",
        "bounds/test_sampled.py::test_a_kink_is_not_mistaken_for_a_slope",
    ),
    Fault(
        "certificates.py",
        "proved = (worst > 0) & worst.isfinite()",
        "proved = (worst >= 0) & worst.isfinite()",
        "Ties are certified.",
        "test_certificates.py::test_ties_do_not_certify",
    ),
    Fault(
        "certificates.py",
        "below=limits[1][part], above=limits[0][part]",
        "below=limits[0][part], above=limits[1][part]",
        "The last hidden units' way up and down are exchanged.",
        "test_certificates.py",
    ),
    Fault(
        "certificates.py",
        "doubt = logits.doubt + logits.doubt.gather(1, y[:, None])",
        "doubt = logits.doubt - logits.doubt.gather(1, y[:, None])",
        "The doubts of two logits are subtracted instead of added.",
        "bounds/test_rounding.py",
    ),
    Fault(
        "certificates.py",
        "if not (found.eps >= radius).all():",
        "if not (found.eps >= radius).any():",
        "A bound on a smaller ball is accepted as soon as one point has its own radius.",
        "test_certificates.py::test_a_rung_cannot_change_the_radius",
    ),
    Fault(
        "certificates.py",
        "holds = certify(net, x[index], y[index], trial[index], bound=bound).holds",
        "holds = certify(net, x[index], y[index], trial[index] / (1 + 10 * tolerance), bound=bound).holds",
        "A certified radius was certified at a smaller one.",
        "test_certificates.py::test_radius_is_certified_and_the_largest",
    ),
    Fault(
        "cascade.py",
        "rung = partial(local_bound, norm=whole_norm)\n"
        "        found = certify(net, x[index], y[index], radius[index], bound=rung, outward=outward)",
        "rung = partial(local_bound, norm=whole_norm)\n"
        "        found = certify(net, x[index], y[index], radius[: len(index)], bound=rung, outward=outward)",
        "Points that a stage left open are certified at the radii of the first points.",
        "test_cascade.py",
    ),
    Fault(
        "cascade.py",
        "delta=delta / len(tolerances)",
        "delta=delta",
        "The failure probability is not divided over the stages.",
        "test_cascade.py",
    ),
    Fault(
        "margins.py",
        "return torch.zeros_like(logits, dtype=torch.bool).scatter(1, y[:, None], True)",
        "return logits == logits.gather(1, y[:, None])",
        "A label's own class is known by its value, so that a tie is no rival.",
        "test_certificates.py::test_ties_do_not_certify test_margins.py",
    ),
    Fault(
        "margins.py",
        "limit = torch.where(at_most > 0, limit.clamp_min(TINY), limit)\n",
        "limit = torch.where(at_most > 0, limit.clamp_min(TINY), limit).nan_to_num()\n",
        "A limit that is not a number counts as 0: the unit cannot move.",
        "test_margins.py",
    ),
    Fault(
        "accuracy.py",
        "certify(net, inputs, labels, radius, bound=bound)",
        "certify(net, inputs, labels, radii[0], bound=bound)",
        "Of several radii, all are certified at the first.",
        "test_accuracy.py",
    ),
    Fault(
        "attacks.py",
        "check_labels(y, len(x), logits.shape[1], center.device)) > 0",
        "check_labels(y, len(x), logits.shape[1], center.device)) >= 0",
        "A tie is counted as correct.",
        "test_accuracy.py",
    ),
    Fault(
        "nets/activations.py",
        "constant = (upper <= low) | (lower >= high) | (high <= low)",
        "constant = (upper <= low) | (upper >= high) | (high <= low)",
        "A clipped unit that reaches its threshold counts as constant.",
        "nets/test_activations.py",
    ),
    Fault(
        "nets/activations.py",
        "return ((lower >= low) & (upper <= high)) * varies, varies",
        "return (lower >= low) * varies, varies",
        "A unit above its lower threshold counts as linear though it may be clipped.",
        "nets/test_activations.py",
    ),
    Fault(
        "nets/rules.py",
        "greatest = torch.where(across, greatest.clamp_min(max(self.alpha, 1.0)), greatest)",
        "greatest = torch.where(across, greatest.clamp_min(1.0), greatest)",
        "A steep ELU has slope 1 just below 0.",
        "nets/test_activations.py",
    ),
    Fault(
        "nets/pairs.py",
        "return torch.cat([torch.maximum(larger, smaller)] * 2, dim=1)",
        "return torch.cat([larger, smaller], dim=1)",
        "A row is struck where one output of its pair is constant.",
        "nets/test_activations.py",
    ),
    Fault(
        "nets/pairs.py",
        "(lower_a >= upper_b).to(lower.dtype)",
        "(lower_a >= lower_b).to(lower.dtype)",
        "A pair whose boxes overlap counts as sorted.",
        "nets/test_activations.py",
    ),
    Fault(
        "nets/operations.py",
        "return ClippedReLU(high, learnable=False) if (high >= 0).all() else None",
        "return ClippedReLU(high, learnable=False)",
        "A clamp with negative thresholds is read as a ReLU that is clipped at 0.",
        "nets/test_programs.py",
    ),
    Fault(
        "nets/operations.py",
        'if len(node.meta["val"].shape) != weight.dim():',
        "if False:",
        "A single image is read as a batch, its channels as samples.",
        "nets/test_programs.py",
    ),
    Fault(
        "nets/operations.py",
        "value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)",
        "torch.as_tensor(value)",
        "Thresholds of a program lose the digits that float32 does not have.",
        "nets/test_programs.py",
    ),
    Fault(
        "nets/operations.py",
        'affine["bias"] = torch.zeros_like(mean) if bias is None else bias',
        'affine["bias"] = torch.zeros_like(mean)',
        "A normalisation loses its bias.",
        "nets/test_programs.py",
    ),
    Fault(
        "nets/programs.py",
        "return isinstance(argument, Value | Half | Compared | _Open)",
        "return isinstance(argument, Value | Half | Compared)",
        "What depends on the size of the batch counts as a constant.",
        "nets/test_programs.py",
    ),
    Fault(
        "nets/programs.py",
        "held[str(each.target)].detach().clone()",
        "held[str(each.target)].detach() * 1.001",
        "Weights are read a thousandth too large: what compares program and network has to see it.",
        "nets/test_programs.py",
    ),
    Fault(
        "nets/linear.py",
        "error = (sum(op.terms + 2 for op in self.operators) * UNIT + self.relative_error) * size",
        "error = self.relative_error * size",
        "The rounding of the product of two layers is not enclosed.",
        "bounds/test_rounding.py bounds/test_false_theorems.py",
    ),
    Fault(
        "nets/linear.py",
        "squared = first.copies * first.scaled_rows(1 / scale)",
        "squared = first.scaled_rows(1 / scale)",
        "Entries of a kernel that meet on a small torus are squared one by one.",
        "nets/test_layers.py layers/test_in_bounds.py",
    ),
    Fault(
        "nets/linear.py",
        "vouched = self.lipschitz * layer.lipschitz",
        "vouched = min(self.lipschitz, layer.lipschitz)",
        "Of two layers one after the other the smaller guarantee counts.",
        "layers/test_in_bounds.py",
    ),
    Fault(
        "nets/blocks.py",
        "_copied_step(step) for step in chain.steps",
        "step for step in chain.steps",
        "A bound follows the weights when the network is trained on.",
        "layers/test_in_bounds.py::test_blocks_do_not_follow_when_the_network_is_trained",
    ),
    Fault(
        "nets/blocks.py",
        "if len(chain.steps) == 1 and isinstance(first, Affine) and not chain.skip:",
        "if len(chain.steps) == 1 and isinstance(first, Affine):",
        "A layer of one map beside its input is read without its input.",
        "layers/test_in_bounds.py layers/test_refusals.py",
    ),
    Fault(
        "layers/condition.py",
        "reach = tuple(size - 1 for size in kernel.shape[2:])",
        "reach = tuple(size // 2 for size in kernel.shape[2:])",
        "Filters that overlap at a corner only count as apart.",
        "layers/test_condition.py",
    ),
    Fault(
        "layers/norm.py",
        "if not torch.linalg.cholesky_ex(squared * eye - gram).info:",
        "if squared > 0:",
        "A norm that layers divide by is an estimate, its proof left out.",
        "layers/test_layer_rounding.py",
    ),
    Fault(
        "layers/norm.py",
        "squared = squared / math.cos(math.pi * degree / count)",
        "squared = squared / math.cos(math.pi * degree / (2 * count))",
        "Half the way between the frequencies of the grid is counted.",
        "layers/test_kernel_norm.py",
    ),
    Fault(
        "layers/spectral.py",
        'stride = (1, 1) if self.padding_mode == "circular" else (self.stride, self.stride)',
        "stride = (self.stride, self.stride)",
        "The phases of a stride are used on a torus that the stride does not divide.",
        "layers/test_convolutions.py::test_circular_with_a_stride_that_does_not_divide",
    ),
    Fault(
        "layers/spectral.py",
        "self, math.sqrt(len(self.weight)), ",
        "self, 1.0, ",
        "Rows of length 1 are guaranteed to make a matrix of norm 1.",
        "layers/test_in_bounds.py layers/test_refusals.py",
    ),
    Fault(
        "layers/bases.py",
        "if not ((least >= 0).all() and (greatest <= 1).all()):",
        "if not (greatest <= 1).all():",
        "An activation that falls is taken where the theorem needs slopes of at least 0.",
        "layers/test_refusals.py",
    ),
    Fault(
        "layers/bases.py",
        'if self.padding_mode == "circular" and 2 * self.padding > self.kernel_size - 1:',
        'if self.padding_mode == "circular" and self.padding > self.kernel_size - 1:',
        "Circular outputs larger than inputs keep their guarantee.",
        "layers/test_refusals.py",
    ),
    Fault(
        "layers/sandwich.py",
        "into = Dense((math.sqrt(2) * B / psi[:, None])",
        "into = Dense((math.sqrt(2) * B * psi[:, None])",
        "Ψ multiplies on both sides of the activation.",
        "layers/test_dense.py::test_any_psi",
    ),
    Fault(
        "bounds/reading.py",
        "if not _agree(net, blocks, points):",
        "if not _agree(net, blocks, points[:0]):",
        "What was read is compared with the network at no point.",
        "bounds/test_reading.py",
    ),
    Fault(
        "bounds/reading.py",
        "return bool((near | ~found.value.isfinite() | found.doubt.isinf()).all())",
        "return bool((near | ~found.value.isfinite() | found.doubt.isinf()).any())",
        "One output in which network and blocks agree is enough.",
        "bounds/test_reading.py",
    ),
    Fault(
        "nets/layers.py",
        'if isinstance(first, nn.Module) and getattr(first, "inplace", False) and not isinstance(first, UNCHANGED):',
        'if isinstance(layer, nn.ReLU) and getattr(layer, "inplace", False):',
        "A layer that writes over its input is noticed only as the first of its block, and only a ReLU.",
        "bounds/test_reading.py",
    ),
    Fault(
        "nets/images.py",
        "widths = layer._reversed_padding_repeated_twice",
        "widths = [width for width in reversed(layer.padding) for _ in range(2)]",
        "Circular padding is read off an attribute that forward does not look at.",
        "bounds/test_reading.py",
    ),
    Fault(
        "nets/blocks.py",
        "if not plain or x.dtype not in POINTS:",
        "if not plain:",
        "Pixels that are whole numbers are taken for points in the network's units.",
        "bounds/test_reading.py",
    ),
    Fault(
        "nets/process.py",
        "if not (found == terms * LEAST > 0 and",
        "if not (found <= terms * LEAST and",
        "A process that flushes the numbers next to 0 to 0 computes certificates.",
        "test_process_flags.py",
    ),
    Fault(
        "bounds/krylov.py",
        "torch.from_numpy(generator.standard_normal(live.shape[1]))",
        "torch.randn(live.shape[1], dtype=torch.float64)",
        "Probabilistic norms start from numbers that the caller can seed.",
        "bounds/test_starts.py",
    ),
    Fault(
        "bounds/aposteriori.py",
        "if not LEAST_DELTA * batch <= self.delta < 1:",
        "if self.delta < LEAST_DELTA * batch:",
        "A probability that is not a number, or above 1, is taken.",
        "bounds/test_starts.py",
    ),
    Fault(
        "certificates.py",
        "with torch.no_grad(), outward_rounding():",
        "with torch.no_grad():",
        "The search for the radius takes a constant whose rounded value is 0 for 0.",
        "test_enclosure.py",
    ),
    Fault(
        "bounds/sides.py",
        "if known.exact is not None and (found := _implied(plane.exact, sign * known.exact)):",
        "if found := sign:",
        "Planes that agree to within rounding are one and the same, without a proof.",
        "bounds/test_exact_slivers.py",
    ),
    Fault(
        "bounds/merged.py",
        "total = total + self.error_of(self.state.shape[1])",
        "total = total + 0 * self.error_of(self.state.shape[1])",
        "What rounding has taken from the merged matrices does not count in the units' constants.",
        "test_enclosure.py bounds/test_merged_rounding.py",
    ),
    Fault(
        "bounds/zonotope.py",
        "reach = self._reach + self.error_of(self.of_input.shape[1] + self.of_noise.shape[1])",
        "reach = self._reach",
        "Boxes from values leave out how far the values may be off.",
        "bounds/test_merged_rounding.py",
    ),
    Fault(
        "layers/bases.py",
        "if not ((least >= 0).all() and (greatest <= 1).all()):",
        "if (least < 0).any() or (greatest > 1).any():",
        "Slopes that are not numbers lie in [0, 1].",
        "layers test_not_a_number.py",
    ),
    Fault(
        "nets/rules.py",
        "return math.exp(-self.threshold) <= 2.0**-53 * self.threshold",
        "return True",
        "The jump of torch's Softplus has no slope.",
        "nets/test_activations.py",
    ),
    Fault(
        "nets/zoo.py",
        "if function not in BUILDERS:",
        'if not function.startswith("lliptools."):',
        "A weights file calls any function of the package.",
        "nets/test_zoo.py",
    ),
    Fault(
        "checker.py",
        '_need(varies or upper <= 0 or lower >= theta or theta <= 0, f"unit {j}: varies")',
        "pass",
        "A certificate file may say of any unit that it is constant.",
        "test_certificate_files.py",
    ),
    Fault(
        "checker.py",
        "return norm >= 0 and min(left, default=ZERO) >= 0",
        "return norm >= 0",
        "A certificate file may claim any norm.",
        "test_certificate_files.py",
    ),
]


def measured(fault: Fault) -> dict[str, Any]:
    """Whether a test fails on a copy with the fault, and which is the first."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
        (tree / "lliptools" / fault.file).write_text(fault.applied())
        start = time.perf_counter()
        first = first_failure(tree, fault.tests.split()) or first_failure(tree, WHOLE)
        seconds = round(time.perf_counter() - start, 1)
    return {"key": fault.key, "file": fault.file, "wrong": fault.wrong, "first": first, "seconds": seconds}


def first_failure(tree: Path, tests: list[str]) -> str | None:
    """The first test of a tree that fails, with what it says, or None."""
    settings = {"PYTHONPATH": str(tree), "CI": "1", "COLUMNS": "400", "OMP_NUM_THREADS": "1"}
    found = "import importlib.util as i; print(i.find_spec('lliptools').origin)"
    options = ["-x", "-q", "--tb=no", "-m", "not browser", "-p", "no:cacheprovider"]
    for command in (["-c", found], ["-m", "pytest", *options, *(f"tests/{name}" for name in tests)]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tree,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
        if command[0] == "-c" and not Path(done.stdout.strip()).is_relative_to(tree):
            raise SystemExit(f"expected lliptools of the copy, got {done.stdout}{done.stderr}")
    if done.returncode == 0:
        return None
    failed = re.search(r"^FAILED tests/(.+)$", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        raise SystemExit(f"expected tests that pass or fail, got\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[1]


def runs() -> dict[str, dict[str, Any]]:
    """What has been measured, by key."""
    lines = LINES.read_text().splitlines() if LINES.exists() else []
    return {line["key"]: line for line in map(json.loads, lines)}


def measure() -> None:
    """The faults that are not there yet, or that no test has noticed."""
    for fault in FAULTS:
        if (runs().get(fault.key) or {}).get("first"):
            continue
        line = measured(fault)
        with LINES.open("a") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(f"{line['seconds']:>6} s  {fault.file}: {fault.wrong} {line['first'] or 'GREEN'}", flush=True)


def page() -> None:
    """The markdown page."""
    known = runs()
    rows: list[list[object]] = []
    for fault in FAULTS:
        fault.applied()
        line = known.get(fault.key)
        if line is None:
            rows.append([f"`{fault.file}`", fault.wrong, "not measured", "", ""])
        else:
            test = (line["first"] or "").split(" - ")[0]
            rows.append([f"`{fault.file}`", fault.wrong, "red" if test else "green", f"`{test}`", line["seconds"]])
    red = sum(row[2] == "red" for row in rows)
    text = (
        "# Faults made by hand, and the tests that notice them\n\n"
        f"Made by `python benchmarks/faults.py` with {machine()}. With every fault a bound, its failure "
        f"probability, a guarantee or a certificate is false; {red} of {len(rows)} turn a test red. Seconds are those "
        "until the first failure, of tests chosen as the most likely to notice, on a machine that had other work.\n\n"
        f"{table(['file', 'what is wrong then', 'tests', 'first that fails', 'seconds'], rows)}\n"
    )
    (LINES.parent / "faults.md").write_text(text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true")
    torch.set_num_threads(1)  # as the tests do
    if not parser.parse_args().page:
        measure()
    page()
