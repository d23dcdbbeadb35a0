"""Which block goes wrong first.

Both sides run with the reference's masks, every gated block's input and output made visible (in a network without
gates, every dynamic convolution's), and are compared in execution order. A block that takes what the reference takes
and gives something else is where to look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn2trt.compare import runs
from dyn2trt.compare.backends import Backend
from dyn2trt.compare.metrics import relative_error
from dyn2trt.compare.result import CoefficientResult, Divergence, GateResult
from dyn2trt.compare.tolerances import LOW_PRECISION_FACTOR
from dyn2trt.compare.verdict import Allowed
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.runtimes.names import block_input, block_output
from dyn2trt.runtimes.session import Feed


def bisect(
    reference: Backend,
    candidate: Backend,
    metadata: ExportMetadata,
    forced_feed: Feed,
    allowed: Allowed,
    torch_low: Backend | None = None,
) -> Divergence:
    """Return where ``candidate`` leaves ``reference`` first, on one batch.

    Args:
        forced_feed: ``x``, and the masks to force where there are gates.
        torch_low: torch at a lower precision; each block may then err twice as far as it does.
    """
    blocks = [block.name for block in metadata.blocks] or [
        convolution.name for predictor in metadata.kernels for convolution in predictor.convolutions
    ]
    expected = _traced(reference, forced_feed, blocks)
    errors = _errors(_traced(candidate, forced_feed, blocks), expected, blocks)
    base = max(allowed.outputs.values())
    tolerances = [(base, base)] * len(blocks)
    if torch_low is not None:
        measured = _errors(_traced(torch_low, forced_feed, blocks), expected, blocks)
        tolerances = [(_widened(entering), _widened(leaving)) for entering, leaving in measured]
    return first_divergence(blocks, errors, tolerances)


def first_divergence(
    blocks: Sequence[str], errors: Sequence[tuple[float, float]], tolerances: Sequence[tuple[float, float]]
) -> Divergence:
    """Find the first error beyond its tolerance.

    Args:
        blocks: in execution order.
        errors, tolerances: of each block's input and output.
    """
    last_error = 0.0
    for block, (entering, leaving), (allowed_in, allowed_out) in zip(blocks, errors, tolerances, strict=True):
        if not entering <= allowed_in:
            return Divergence("before", block, entering, last_error, allowed_in)
        if not leaving <= allowed_out:
            return Divergence("block", block, leaving, entering, allowed_out)
        last_error = leaving
    return Divergence("nowhere", None, last_error, last_error, tolerances[-1][1] if tolerances else 0.0)


def first_decision(gates: Sequence[GateResult], coefficients: Sequence[CoefficientResult]) -> Divergence | None:
    """Find the first predictor, or else the first gate, that is wrong by a backend's own decisions as it is.

    For a plan whose blocks cannot be made visible; None where its decisions pass, or are not known.
    """
    last_error = 0.0
    for predictor in coefficients:
        if not predictor.passed:
            return Divergence("decision", predictor.predictor, predictor.max_abs, last_error, predictor.tolerance)
        last_error = predictor.max_abs
    for gate in gates:
        if not gate.passed:
            return Divergence("decision", gate.statistics.block, 1.0 - gate.statistics.agreement, 0.0, 0.0)
    return None


def _traced(backend: Backend, feed: Feed, blocks: Sequence[str]) -> runs.Iterations:
    return runs.run(backend, [feed], forced=len(feed) > 1, taps=blocks)


def _errors(candidate: runs.Iterations, reference: runs.Iterations, blocks: Sequence[str]) -> list[tuple[float, float]]:
    def error(name: str) -> float:
        y, r = candidate[0][name], reference[0][name]
        return relative_error(y, r) if y.shape == r.shape else float("inf")

    return [(error(block_input(block)), error(block_output(block))) for block in blocks]


def _widened(error: float) -> float:
    return LOW_PRECISION_FACTOR * max(error, float(np.finfo(np.float32).eps))
