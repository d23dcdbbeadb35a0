"""How far a backend may be from the reference: constants in fp32, below it what torch itself loses."""

from __future__ import annotations

from collections.abc import Sequence

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
    Tolerances,
)
from dyn2trt.compare.verdict import Allowed
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.runtimes.session import Feed


def yardstick(network: nn.Module | None, metadata: ExportMetadata) -> TorchBackend | None:
    """Dense torch at the model's own precision, folded as the exporter folds it; None for fp32 or without torch."""
    if network is None or metadata.precision == "fp32":
        return None
    from dyn2trt.blocks.fold import fold_batchnorm
    from dyn2trt.blocks.precision import to_precision

    low = to_precision(fold_batchnorm(network), metadata.precision)
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
    predictors = len(metadata.kernels)
    if metadata.precision == "fp32":
        outputs, logits = dict.fromkeys(metadata.outputs, FP32_OUTPUTS), [FP32_LOGITS] * blocks
        coefficients = [FP32_COEFFICIENTS] * predictors
        source = f"fp32: ‖y−r‖/‖r‖ ≤ {FP32_OUTPUTS:g} for outputs"
        source += f", {FP32_LOGITS:g} for gate logits" if blocks else ""
        source += f"; |y−r| ≤ {FP32_COEFFICIENTS:g} for coefficients" if predictors else ""
    elif torch_low is not None:
        outputs, logits, coefficients = _errors_of(torch_low, metadata, forced_feeds, reference)
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
    torch_low: TorchBackend, metadata: ExportMetadata, forced_feeds: Sequence[Feed], reference: Iterations
) -> tuple[dict[str, float], list[float], list[float]]:
    """Twice the errors of outputs, logits and coefficients under forced masks, at least those allowed in fp32."""
    results = runs.run(torch_low, forced_feeds, forced=bool(metadata.blocks))
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


def _flips_of(torch_low: TorchBackend, metadata: ExportMetadata, feeds: Sequence[Feed], reference: Iterations) -> str:
    results = runs.run(torch_low, feeds)
    flips = sum(gate.flipped for gate in compare_all_gates(metadata.blocks, results, reference))
    worst = max(_output_errors(results, reference, metadata).values())
    return f"torch in {metadata.precision} itself flips {flips}, and its outputs are off by up to {worst:.2g}"


def _output_errors(results: Iterations, reference: Iterations, metadata: ExportMetadata) -> dict[str, float]:
    """The error of each output in its worst image."""
    measure = NormCompareFunc(dict.fromkeys(metadata.outputs, 0.0))
    compared = runs.compare(results, reference, metadata.outputs, measure)
    return {name: max(batch.error for batch in batches) for name, batches in compared.items()}


def _all(iterations: Iterations, name: str) -> NDArray[np.float32]:
    array = runs.joined(iterations, name)
    assert array is not None
    return array
