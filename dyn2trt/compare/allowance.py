"""How far a backend may be from the reference: constants in fp32, below it what torch itself loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dyn2trt.compare import runs
from dyn2trt.compare.backends import TorchBackend
from dyn2trt.compare.coefficients import largest_differences
from dyn2trt.compare.gates import compare_all_gates
from dyn2trt.compare.metrics import NormCompareFunc
from dyn2trt.compare.runs import Iterations
from dyn2trt.compare.tolerances import (
    COEFFICIENTS_WITHOUT_TORCH,
    FP32_COEFFICIENTS,
    FP32_LOGITS,
    FP32_OUTPUTS,
    LOGITS_WITHOUT_TORCH,
    LOW_PRECISION_FACTOR,
)
from dyn2trt.compare.verdict import Allowed
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.recipe.tolerances import Tolerances
from dyn2trt.runtimes.names import LOGITS
from dyn2trt.runtimes.session import Feed


def yardstick(network: nn.Module | None, metadata: ExportMetadata) -> TorchBackend | None:
    """Dense torch at the model's own precision, folded as the exporter folds it; None for fp32 or without torch."""
    if network is None or metadata.precision == "fp32":
        return None
    from dyn2trt.blocks.fold import fold_batchnorm
    from dyn2trt.blocks.precision import accept_float32, to_precision

    low = to_precision(fold_batchnorm(network, metadata.input_shape), metadata.precision)
    accept_float32(low)
    return TorchBackend(low, metadata, f"torch {metadata.precision}", metadata.precision)


def allowed_errors(
    metadata: ExportMetadata,
    tolerances: Tolerances,
    torch_low: TorchBackend | None,
    feeds: Sequence[Feed],
    forced_feeds: Sequence[Feed],
    reference: Iterations,
) -> Allowed:
    """Return the tolerances of outputs, logits and coefficients.

    Args:
        tolerances: what the user asks for goes before the defaults, for outputs.
        torch_low: see `yardstick`.
        feeds, forced_feeds: a batch each, and with the masks that make others decide as the reference did.
        reference: its results.

    Raises:
        Dyn2trtError: fp16 or bf16 without torch to measure by, and an output without a tolerance of the user's.
    """
    blocks = len(metadata.blocks)
    itself = ""
    if undefined := [name for name in metadata.outputs if _holds(np.isnan, reference, name)]:
        raise Dyn2trtError(
            f"the reference itself gives NaN at {', '.join(undefined)}, so nothing compares with it; look at its "
            "weights, and at the inputs"
        )
    predictors = len(metadata.kernels)
    if metadata.precision == "fp32":
        outputs, logits = dict.fromkeys(metadata.outputs, FP32_OUTPUTS), [FP32_LOGITS] * blocks
        coefficients = [FP32_COEFFICIENTS] * predictors
        source = f"fp32: ‖y−r‖/‖r‖ ≤ {FP32_OUTPUTS:g} for outputs"
        source += f", {FP32_LOGITS:g} for gate logits" if blocks else ""
        source += f"; |y−r| ≤ {FP32_COEFFICIENTS:g} for coefficients" if predictors else ""
    elif torch_low is not None:
        needed = [name for name in metadata.outputs if tolerances.of(name) is None]
        outputs, logits, coefficients = _errors_of(torch_low, metadata, forced_feeds, reference, needed)
        itself = _flips_of(torch_low, metadata, feeds, reference) if blocks else ""
        source = (
            f"{metadata.precision}: ‖y−r‖/‖r‖ ≤ {LOW_PRECISION_FACTOR:g} × the error of torch in "
            f"{metadata.precision} on the same inputs"
        )
    else:
        unknown = [name for name in metadata.outputs if tolerances.of(name) is None]
        if unknown:
            raise Dyn2trtError(
                f"without torch nothing says how exact {metadata.precision} can be: add torch to --backends, or give "
                f"--tolerance {unknown[0]}:VALUE"
            )
        outputs, logits = {}, [LOGITS_WITHOUT_TORCH[metadata.precision]] * blocks
        coefficients = [COEFFICIENTS_WITHOUT_TORCH[metadata.precision]] * predictors
        source = f"{metadata.precision}: ‖y−r‖/‖r‖ ≤ {logits[0]:g} for gate logits" if logits else metadata.precision
    asked = {name: tolerance for name in metadata.outputs if (tolerance := tolerances.of(name)) is not None}
    if asked:
        source += "; as asked: " + ", ".join(f"{name} {tolerance:g}" for name, tolerance in asked.items())
    return Allowed({**outputs, **asked}, logits, source, coefficients, itself)


def _errors_of(
    torch_low: TorchBackend,
    metadata: ExportMetadata,
    forced_feeds: Sequence[Feed],
    reference: Iterations,
    needed: Sequence[str],
) -> tuple[dict[str, float], list[float], list[float]]:
    """Twice the errors of outputs, logits and coefficients under forced masks, at least those allowed in fp32.

    Raises:
        Dyn2trtError: torch itself overflows at an output that is ``needed``, or in a gate or predictor.
    """
    results = runs.run(torch_low, forced_feeds, forced=bool(metadata.blocks))
    _check_overflow(metadata, results, reference, needed)
    outputs = {
        name: max(FP32_OUTPUTS, LOW_PRECISION_FACTOR * error)
        for name, error in _output_errors(results, reference, metadata).items()
    }
    logits = [
        max(FP32_LOGITS, LOW_PRECISION_FACTOR * (gate.logit_error or 0.0))
        for gate in compare_all_gates(metadata.blocks, results, reference)
    ]
    names = [predictor.coefficients for predictor in metadata.kernels]
    differences = largest_differences(*([_all(run, name) for name in names] for run in (results, reference)))
    coefficients = [max(FP32_COEFFICIENTS, LOW_PRECISION_FACTOR * float(each.max())) for each in differences]
    return outputs, logits, coefficients


def _check_overflow(
    metadata: ExportMetadata, results: Iterations, reference: Iterations, needed: Sequence[str]
) -> None:
    decided = {f"{LOGITS}{index}": f"the gate of {block.name}" for index, block in enumerate(metadata.blocks)}
    decided |= {predictor.coefficients: predictor.name for predictor in metadata.kernels}
    for name, shown in (dict(zip(needed, needed, strict=True)) | decided).items():
        if _holds(np.isfinite, reference, name, everywhere=True) and not _holds(
            np.isfinite, results, name, everywhere=True
        ):
            better = "bf16 or fp32" if metadata.precision == "fp16" else "fp32"
            raise Dyn2trtError(f"torch itself overflows in {metadata.precision} at {shown}; use {better}")


def _holds(test: Callable[..., Any], iterations: Iterations, name: str, *, everywhere: bool = False) -> bool:
    """Whether ``test`` holds of some number of an array, or of all."""
    return (
        all(test(batch[name]).all() for batch in iterations)
        if everywhere
        else any(test(batch[name]).any() for batch in iterations)
    )


def _flips_of(torch_low: TorchBackend, metadata: ExportMetadata, feeds: Sequence[Feed], reference: Iterations) -> str:
    results = runs.run(torch_low, feeds)
    flips = sum(gate.flipped for gate in compare_all_gates(metadata.blocks, results, reference))
    worst = np.max([*_output_errors(results, reference, metadata).values()])  # a NaN stays one
    return f"torch in {metadata.precision} itself flips {flips}, and its outputs are off by up to {worst:.2g}"


def _output_errors(results: Iterations, reference: Iterations, metadata: ExportMetadata) -> dict[str, float]:
    """The error of each output in its worst image."""
    measure = NormCompareFunc(dict.fromkeys(metadata.outputs, 0.0))
    compared = runs.compare(results, reference, metadata.outputs, measure)
    return {name: float(np.max([batch.error for batch in batches])) for name, batches in compared.items()}


def _all(iterations: Iterations, name: str) -> NDArray[np.float32]:
    array = runs.joined(iterations, name)
    assert array is not None
    return array
