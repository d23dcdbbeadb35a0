"""Judging one backend: decisions first and apart, then the outputs.

1. With the reference's masks forced, outputs must be within tolerance. That is arithmetic alone.
2. With them forced, every gate must give the reference's logits within tolerance: it sees what the reference's gate
   sees, so flips that remain are rounding at a margin, never the trace of an earlier flip.
3. As they are, outputs are held to the same tolerance unless a decision flipped; then the difference is the flips'
   doing, and reported without being judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dyn2trt.compare.metrics import NormResult
from dyn2trt.compare.result import Cause, CoefficientResult, GateResult, GateStatistics, OutputResult

_NAMED = 3
"""Blocks that a message names."""


@dataclass(frozen=True)
class Allowed:
    """How far a backend may be from the reference."""

    outputs: Mapping[str, float]
    logits: Sequence[float]
    """Relative error of each gate's logits, in execution order."""
    source: str
    """In words."""
    coefficients: Sequence[float] = ()
    """Largest difference of each predictor's coefficients, in execution order."""
    torch_itself: str = ""
    """What torch flips and loses at the model's own precision, deciding for itself; in words, for fp16 and bf16."""


def judge_outputs(
    errors: Mapping[str, Sequence[NormResult]], elements: Mapping[str, Sequence[object]] | None, *, judged: bool
) -> tuple[OutputResult, ...]:
    """Sum up the comparison of each output over the batches that were run.

    Args:
        errors: for each output, one result per batch.
        elements: the same for Polygraphy's elementwise check, truthy where it passed; None when it was not asked for.
        judged: False to report without judging.
    """
    summary = []
    for name, batches in errors.items():
        worst = max(batches, key=lambda result: _rank(result.error))
        before = sum(result.images for result in batches[: batches.index(worst)])
        elementwise = None if elements is None else all(map(bool, elements[name]))
        summary.append(
            OutputResult(
                name=name,
                error=worst.error,
                tolerance=worst.tolerance,
                max_abs=max((result.max_abs for result in batches), key=_rank),
                worst_image=before + worst.worst_image,
                passed=all(batches) and elementwise is not False,
                elementwise=elementwise,
                judged=judged,
            )
        )
    return tuple(summary)


def judge_forced_gates(statistics: Sequence[GateStatistics], allowed: Sequence[float]) -> tuple[GateResult, ...]:
    """Hold every gate's own logits to their tolerance; the masks of all blocks were forced."""
    return tuple(
        GateResult(gate, tolerance, passed=gate.logit_error is not None and gate.logit_error <= tolerance)
        for gate, tolerance in zip(statistics, allowed, strict=True)
    )


def judge_free_gates(
    statistics: Sequence[GateStatistics], allowed: Sequence[float], *, alone: bool
) -> tuple[GateResult, ...]:
    """Report decisions as they are.

    Args:
        statistics: may be empty, where the candidate shows no decisions.
        alone: nothing was run with forced masks, so judge here what can be: in the first block with a flip, every
            flipped site must have lain within `MARGIN_FACTOR` tolerances of the threshold. Blocks after it see other
            data and are not judged.
    """
    results = []
    first = True
    for gate, tolerance in zip(statistics, allowed[: len(statistics)], strict=True):
        passed = True
        if gate.flipped and first:
            first = False
            margin = gate.largest_flipped_margin or 0.0
            passed = not alone or margin <= MARGIN_FACTOR * tolerance * gate.logit_scale
        results.append(GateResult(gate, tolerance if gate.logit_error is not None else None, passed))
    return tuple(results)


MARGIN_FACTOR = 10.0
"""How far a single logit may be off, in units of the allowed error of the block's logits as a whole: the largest of
thousands of rounding errors is a few times their root mean square."""


def causes(
    *,
    free_gates: Sequence[GateResult],
    forced_gates: Sequence[GateResult],
    outputs: Sequence[OutputResult],
    forced_outputs: Sequence[OutputResult],
    coefficients: Sequence[CoefficientResult] = (),
) -> tuple[Cause, ...]:
    """Name what failed, each fault once.

    Wrong coefficients make wrong kernels, so they are named first.

    A wrong block also makes the gates after it wrong. So gates are blamed only where the outputs with forced masks
    agree, or nothing was run with forced masks.
    """
    if wrong_kernels := [result for result in coefficients if not result.passed]:
        return (Cause("kernels", _kernels_off(wrong_kernels)),)
    found = [
        Cause("numbers", f"{_difference(output)} with the reference's masks forced: arithmetic, not decisions")
        for output in forced_outputs
        if output.judged and not output.passed
    ]
    if found:
        return tuple(found)
    if wrong := [gate for gate in forced_gates if not gate.passed]:
        return (Cause("decisions", _gates_off(wrong)),)
    if wrong := [gate for gate in free_gates if not gate.passed]:
        return (Cause("decisions", _flips_unexplained(wrong[0].statistics)),)
    return tuple(
        Cause("numbers", f"{_difference(output)} as it is") for output in outputs if output.judged and not output.passed
    )


def _difference(output: OutputResult) -> str:
    if output.error <= output.tolerance:
        return (
            f"{output.name} exceeds atol + rtol·|reference| in some element (largest difference {output.max_abs:.2g})"
        )
    return f"{output.name} differs by {output.error:.2g} ({output.tolerance:.2g} allowed)"


def _gates_off(wrong: Sequence[GateResult]) -> str:
    named = ", ".join(
        f"{gate.statistics.block} (logits off by {gate.statistics.logit_error:.2g}, {gate.tolerance:.2g} allowed; "
        f"{gate.statistics.flipped} of {gate.statistics.sites} decisions flipped)"
        for gate in wrong[:_NAMED]
    )
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    return f"gates decide otherwise on the reference's own data: {named}{more}"


def _kernels_off(wrong: Sequence[CoefficientResult]) -> str:
    named = ", ".join(
        f"{result.predictor} (by up to {result.max_abs:.2g}, {result.tolerance:.2g} allowed)"
        for result in wrong[:_NAMED]
    )
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    return f"coefficients of dynamic kernels differ: {named}{more}"


def _flips_unexplained(gate: GateStatistics) -> str:
    return (
        f"the gate of {gate.block} flips {gate.flipped} of {gate.sites} decisions, one at |logit| "
        f"{gate.largest_flipped_margin:.2g}, farther from the threshold than rounding explains"
    )


def _rank(value: float) -> float:
    return float("inf") if value != value else value
