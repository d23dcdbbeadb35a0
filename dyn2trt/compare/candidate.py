"""One backend run and judged against the reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dyn2trt.compare import runs
from dyn2trt.compare.backends import Backend
from dyn2trt.compare.bisect import bisect, first_decision
from dyn2trt.compare.coefficients import judge_coefficients
from dyn2trt.compare.gates import compare_all_gates
from dyn2trt.compare.metrics import NormCompareFunc
from dyn2trt.compare.options import CompareOptions
from dyn2trt.compare.result import BackendResult, Cause, CoefficientResult, OutputResult
from dyn2trt.compare.runs import Iterations
from dyn2trt.compare.verdict import Allowed, causes, judge_forced_gates, judge_free_gates, judge_outputs
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.runtimes.names import INPUT, LOGITS, MASK
from dyn2trt.runtimes.session import Feed


@dataclass(frozen=True)
class Setting:
    """What stays the same from backend to backend."""

    metadata: ExportMetadata
    options: CompareOptions
    allowed: Allowed
    feeds: list[Feed]
    forced_feeds: list[Feed]
    reference: Backend
    torch_low: Backend | None
    free: Iterations
    images: int


def compare_backend(
    backend: Backend, setting: Setting, free_runs: dict[str, Iterations], forced_runs: dict[str, Iterations]
) -> BackendResult:
    """Run a backend as it is and with the reference's masks forced, and judge it.

    Args:
        free_runs, forced_runs: take the results of both, by the backend's name.
    """
    metadata, options = setting.metadata, setting.options
    try:
        free = free_runs[backend.name] = runs.run(backend, setting.feeds)
        forced, notes = None, []
        if metadata.blocks:
            try:
                forced = forced_runs[backend.name] = runs.run(backend, setting.forced_feeds, forced=True)
            except MissingDependency as reason:
                notes.append(f"not run with the reference's masks forced: {reason}")
        return _judge(backend, setting, free, forced, notes)
    except MissingDependency as reason:
        return not_run(backend.name, str(reason), options.required, backend.detail)
    except Dyn2trtError as error:
        return BackendResult(backend.name, backend.detail, causes=(Cause("run", str(error)),))


def _judge(
    backend: Backend, setting: Setting, free: Iterations, forced: Iterations | None, notes: list[str]
) -> BackendResult:
    metadata, options, allowed = setting.metadata, setting.options, setting.allowed
    gates = partial(compare_all_gates, metadata.blocks, reference=setting.free, images=setting.images)
    free_statistics = gates(free)
    free_gates = judge_free_gates(free_statistics, allowed.logits, alone=forced is None)
    forced_gates = judge_forced_gates(gates(forced), allowed.logits) if forced else ()
    flips = sum(gate.flipped for gate in free_statistics)
    norm, elements = NormCompareFunc(allowed.outputs), runs.elementwise(options.atol, options.rtol)

    def outputs(candidate: Iterations, *, judged: bool) -> tuple[OutputResult, ...]:
        per_element = elements and runs.compare(candidate, setting.free, metadata.outputs, elements)
        errors = runs.compare(candidate, setting.free, metadata.outputs, norm)
        return judge_outputs(errors, per_element, judged=judged)

    free_outputs = outputs(free, judged=flips == 0)
    forced_outputs = outputs(forced, judged=True) if forced else ()
    coefficients = _judge_coefficients(setting, forced or free) if forced or not flips else ()
    if missing := _not_shown(metadata, free):
        notes.append(
            f"what it decides by itself is not known: it gives no {missing}; dyn2trt export --with-decisions writes a "
            "file, and dyn2trt build a plan of it, that do"
        )
    if flips:
        counted = "1 decision" if flips == 1 else f"{flips} decisions"
        notes.append(f"{counted} flipped: the outputs as they are (in parentheses) follow from them and are not judged")
        notes += [allowed.torch_itself] if allowed.torch_itself else []
        if metadata.kernels and not forced:
            notes.append("its coefficients follow from the flips too, and are not compared")
    found = causes(
        free_gates=free_gates,
        forced_gates=forced_gates,
        outputs=free_outputs,
        forced_outputs=forced_outputs,
        coefficients=coefficients,
    )
    result = BackendResult(
        name=backend.name,
        detail=backend.detail,
        gates=free_gates,
        forced_gates=forced_gates,
        outputs=free_outputs,
        forced_outputs=forced_outputs,
        coefficients=coefficients,
        notes=tuple(notes),
        causes=found,
    )
    dynamic = metadata.blocks or metadata.kernels
    return _bisected(backend, setting, result, forced) if options.bisect and dynamic else result


def _bisected(backend: Backend, setting: Setting, result: BackendResult, forced: Iterations | None) -> BackendResult:
    """Add where the backend diverges, on the batch with the worst image."""
    metadata = setting.metadata
    if metadata.blocks and forced is None:
        return replace(result, divergence=first_decision(result.gates, result.coefficients))
    judged = result.forced_outputs or result.outputs
    worst = max(judged, key=lambda output: output.error).worst_image // len(setting.feeds[0][INPUT])
    feed = setting.forced_feeds[worst]
    try:
        divergence = bisect(setting.reference, backend, metadata, feed, setting.allowed, setting.torch_low)
    except MissingDependency as reason:
        notes = (*result.notes, f"not run with its blocks made visible: {reason}")
        return replace(result, notes=notes, divergence=first_decision(result.gates, result.coefficients))
    return replace(result, divergence=divergence)


def _not_shown(metadata: ExportMetadata, free: Iterations) -> str:
    """What a candidate's results lack of its decisions, in words; empty where they are all there."""
    given = set().union(*free)
    lacking = {
        "masks": not given >= {f"{MASK}{i}" for i in range(len(metadata.blocks))}
        and not given >= {f"{LOGITS}{i}" for i in range(len(metadata.blocks))},
        "coefficients": not given >= {predictor.coefficients for predictor in metadata.kernels},
    }
    return " and no ".join(what for what, lacks in lacking.items() if lacks)


def _judge_coefficients(setting: Setting, candidate: Iterations) -> tuple[CoefficientResult, ...]:
    """Compare the coefficients of dynamic kernels; empty where there are none, or the candidate does not give them."""
    metadata = setting.metadata
    found, expected = (coefficients_of(metadata, run, setting.images) for run in (candidate, setting.free))
    if len(found) < len(metadata.kernels):
        return ()
    return judge_coefficients(metadata.kernels, found, expected, setting.allowed.coefficients)


def coefficients_of(metadata: ExportMetadata, iterations: Iterations, images: int) -> list[NDArray[np.float32]]:
    """[N, size] per predictor, as far as they are given."""
    arrays = [runs.joined(iterations, predictor.coefficients, images) for predictor in metadata.kernels]
    return [array for array in arrays if array is not None]


def not_run(name: str, reason: str, required: bool, detail: str = "") -> BackendResult:
    """What is said of a backend that cannot run; a failure where it was ``required`` to."""
    cause = (Cause("run", f"{name} was asked for, but cannot run: {reason}"),) if required else ()
    return BackendResult(name, detail, not_run=reason, causes=cause)
