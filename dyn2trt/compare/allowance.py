"""How far a backend may be from the reference: constants in fp32, below it what torch itself loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from dyn2trt.compare import runs
from dyn2trt.compare.backends import Feed, TorchBackend
from dyn2trt.compare.gates import compare_gates
from dyn2trt.compare.metrics import NormCompareFunc
from dyn2trt.compare.names import LOGITS
from dyn2trt.compare.runs import Iterations
from dyn2trt.compare.tolerances import (
    FP32_LOGITS,
    FP32_OUTPUTS,
    LOGITS_WITHOUT_TORCH,
    LOW_PRECISION_FACTOR,
    Tolerances,
)
from dyn2trt.compare.verdict import Allowed
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata


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
    forced_feeds: Sequence[Feed],
    reference: Iterations,
) -> Allowed:
    """Return the tolerances of outputs and logits.

    Args:
        tolerances: what the user asks for goes before the defaults, for outputs.
        torch_low: see `yardstick`.
        forced_feeds, reference: the reference's results, and the feeds that make others decide as it did.

    Raises:
        Dyn2trtError: fp16 or bf16 without torch to measure by, and an output without a tolerance of the user's.
    """
    blocks = len(metadata.blocks)
    if metadata.precision == "fp32":
        outputs, logits = dict.fromkeys(metadata.outputs, FP32_OUTPUTS), [FP32_LOGITS] * blocks
        source = f"fp32: ‖y−r‖/‖r‖ ≤ {FP32_OUTPUTS:g} for outputs, {FP32_LOGITS:g} for gate logits"
    elif torch_low is not None:
        outputs, logits = _errors_of(torch_low, metadata, forced_feeds, reference)
        source = (
            f"{metadata.precision}: ‖y−r‖/‖r‖ ≤ {LOW_PRECISION_FACTOR:g} × the error of dense torch in "
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
        source = f"{metadata.precision}: ‖y−r‖/‖r‖ ≤ {logits[0]:g} for gate logits" if logits else metadata.precision
    asked = {name: tolerance for name in metadata.outputs if (tolerance := tolerances.of(name)) is not None}
    if asked:
        source += "; as asked: " + ", ".join(f"{name} {tolerance:g}" for name, tolerance in asked.items())
    return Allowed({**outputs, **asked}, logits, source)


def _errors_of(
    torch_low: TorchBackend, metadata: ExportMetadata, forced_feeds: Sequence[Feed], reference: Iterations
) -> tuple[dict[str, float], list[float]]:
    results = runs.run(torch_low.runner(forced_feeds[0], forced=bool(metadata.blocks)), forced_feeds)
    measure = NormCompareFunc(dict.fromkeys(metadata.outputs, 0.0))
    errors = runs.compare(results, reference, metadata.outputs, measure)
    outputs = {
        name: max(FP32_OUTPUTS, LOW_PRECISION_FACTOR * max(batch.error for batch in batches))
        for name, batches in errors.items()
    }
    logits = []
    for index, block in enumerate(metadata.blocks):
        expected, came = (
            np.concatenate([batch[f"{LOGITS}{index}"] for batch in iterations]) for iterations in (reference, results)
        )
        error = compare_gates(block.name, expected, logits=came).logit_error or 0.0
        logits.append(max(FP32_LOGITS, LOW_PRECISION_FACTOR * error))
    return outputs, logits
