"""One model on all backends, compared with the reference: the work behind ``dyn2trt compare``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from dyn2trt.compare import runs
from dyn2trt.compare.allowance import allowed_errors, yardstick
from dyn2trt.compare.backends import (
    ONNXRUNTIME,
    TENSORRT,
    TORCH,
    Backend,
    OnnxRuntimeBackend,
    TensorRtBackend,
    TorchBackend,
)
from dyn2trt.compare.bisect import bisect, first_decision
from dyn2trt.compare.coefficients import CoefficientResult, judge_coefficients
from dyn2trt.compare.gates import compare_all_gates
from dyn2trt.compare.metrics import NormCompareFunc
from dyn2trt.compare.reference import reference_network
from dyn2trt.compare.result import BackendResult, Cause, Comparison
from dyn2trt.compare.runs import Iterations
from dyn2trt.compare.tolerances import Tolerances
from dyn2trt.compare.verdict import Allowed, causes, judge_forced_gates, judge_free_gates, judge_outputs
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.metadata import ExportMetadata, load_model, read_metadata
from dyn2trt.files import sha256
from dyn2trt.gates.alike import warn_of_like_decisions
from dyn2trt.images import load_inputs
from dyn2trt.runtimes.names import FORCED, INPUT, LOGITS, MASK
from dyn2trt.runtimes.onnxruntime_session import CPU
from dyn2trt.runtimes.session import Feed


@dataclass(frozen=True)
class CompareOptions:
    """What to compare, on what, and how closely."""

    model: Path
    backends: tuple[str, ...] = (TORCH, ONNXRUNTIME, TENSORRT)
    """The first is the reference."""
    required: bool = False
    """Fail when one of the backends cannot run, instead of saying so."""
    checkpoint: Path | None = None
    """Where the model's weights came from; checked against the model's metadata."""
    plan: Path | None = None
    images: str = "noise"
    """As in `dyn2trt.images.load_inputs`."""
    input_shape: tuple[int, int, int, int] | None = None
    """Batch and size to run at; None is what the model was exported at."""
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    seed: int = 0
    """Of noise."""
    tolerances: Tolerances = field(default_factory=Tolerances)
    """Of ‖y−r‖/‖r‖; where it says nothing, the precision's default."""
    atol: Tolerances | None = None
    rtol: Tolerances | None = None
    bisect: bool = False
    provider: str = CPU
    """Execution provider of ONNX Runtime."""


@dataclass(frozen=True)
class Evidence:
    """What was fed and what came, for saving."""

    x: NDArray[np.float32]
    """The images, [N, C, H, W]."""
    reference_masks: tuple[NDArray[np.bool_], ...]
    """What the reference decided, [N, 1, Ho, Wo] a block."""
    reference_coefficients: tuple[NDArray[np.float32], ...]
    """What it predicted for its dynamic kernels, [N, size] a predictor."""
    feeds: list[Feed]
    """A batch each; the last is filled up by repeating images where the batch is static."""
    forced_feeds: list[Feed]
    free: dict[str, Iterations]
    """Results as they are, by backend, the reference first."""
    forced: dict[str, Iterations]


@dataclass(frozen=True)
class _Setting:
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


def compare_model(
    options: CompareOptions, progress: Callable[[str], None] = lambda _: None
) -> tuple[Comparison, Evidence]:
    """Compare; `progress` is told what is being run.

    Raises:
        Dyn2trtError: the model, the checkpoint, the inputs, a tolerance or the reference cannot be used. What a
            backend does wrong is in the result.
    """
    model = load_model(options.model)
    metadata = read_metadata(model)
    options.tolerances.check_names(metadata.outputs)
    for tolerances in filter(None, (options.atol, options.rtol)):
        tolerances.check_names(metadata.outputs)
    shape = _shape(options, metadata)
    x = load_inputs(options.images, (None, *shape[1:]), mean=options.mean, std=options.std, seed=options.seed)
    feeds = _batches(x, shape[0], fill=0 not in metadata.dynamic_axes)

    network = reference_network(metadata, options.checkpoint) if TORCH in options.backends else None
    made: dict[str, Backend | str] = {}
    for name in options.backends:
        try:
            made[name] = _backend(name, options, model, metadata, network)
        except MissingDependency as reason:
            made[name] = str(reason)
    reference = made.pop(options.backends[0])
    if isinstance(reference, str):
        raise Dyn2trtError(f"the reference {options.backends[0]} cannot run: {reference}")

    progress(f"{reference.name} (reference)")
    try:
        free = runs.run(reference, feeds)
    except MissingDependency as reason:
        raise Dyn2trtError(f"the reference {reference.name} cannot run: {reason}") from reason
    gates = len(metadata.blocks)
    decisions = [[batch[f"{LOGITS}{i}"] for i in range(gates)] for batch in free]
    forced: list[Feed] = [
        {
            **feed,
            **{f"{FORCED}{i}": np.where(logits >= 0, np.float32(1), np.float32(-1)) for i, logits in enumerate(batch)},
        }
        for feed, batch in zip(feeds, decisions, strict=True)
    ]
    torch_low = yardstick(network, metadata)
    if torch_low is not None:
        progress(f"{torch_low.name} (yardstick)")
    allowed = allowed_errors(metadata, options.tolerances, torch_low, feeds, forced, free)
    setting = _Setting(metadata, options, allowed, feeds, forced, reference, torch_low, free, len(x))

    free_runs, forced_runs = {reference.name: free}, {reference.name: free} if gates else {}
    results = []
    for name, backend in made.items():
        if isinstance(backend, str):
            result = _not_run(name, backend, options.required)
        else:
            progress(name)
            result = _compare_backend(backend, setting, free_runs, forced_runs)
        results.append(result)
    comparison = Comparison(
        model=options.model.name,
        model_sha256=sha256(options.model),
        network=metadata.network,
        precision=metadata.precision,
        reference=reference.name,
        reference_detail=reference.detail,
        images=len(x),
        inputs=str(options.images),
        batch_size=shape[0],
        yardstick=allowed.source,
        backends=tuple(results),
        causes=_nothing_ran(results),
    )
    masks = tuple(np.concatenate([batch[i] for batch in decisions])[: len(x)] >= 0 for i in range(gates))
    warn_of_like_decisions(masks)
    coefficients = tuple(_coefficients(metadata, free, len(x)))
    return comparison, Evidence(x, masks, coefficients, feeds, forced if gates else [], free_runs, forced_runs)


def _compare_backend(
    backend: Backend, setting: _Setting, free_runs: dict[str, Iterations], forced_runs: dict[str, Iterations]
) -> BackendResult:
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
        return _not_run(backend.name, str(reason), options.required, backend.detail)
    except Dyn2trtError as error:
        return BackendResult(backend.name, backend.detail, causes=(Cause("run", str(error)),))


def _judge(
    backend: Backend, setting: _Setting, free: Iterations, forced: Iterations | None, notes: list[str]
) -> BackendResult:
    metadata, options, allowed = setting.metadata, setting.options, setting.allowed
    gates = partial(compare_all_gates, metadata.blocks, reference=setting.free, images=setting.images)
    free_statistics = gates(free)
    free_gates = judge_free_gates(free_statistics, allowed.logits, alone=forced is None)
    forced_gates = judge_forced_gates(gates(forced), allowed.logits) if forced else ()
    flips = sum(gate.flipped for gate in free_statistics)
    norm, elements = NormCompareFunc(allowed.outputs), runs.elementwise(options.atol, options.rtol)

    def outputs(candidate: Iterations, *, judged: bool) -> Any:
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
    if not options.bisect or not (metadata.blocks or metadata.kernels):
        return result
    if metadata.blocks and forced is None:
        return replace(result, divergence=first_decision(free_gates, coefficients))
    judged = forced_outputs or free_outputs
    worst = max(judged, key=lambda output: output.error).worst_image // len(setting.feeds[0][INPUT])
    feed = setting.forced_feeds[worst]
    try:
        divergence = bisect(setting.reference, backend, metadata, feed, allowed, setting.torch_low)
    except MissingDependency as reason:
        notes.append(f"not run with its blocks made visible: {reason}")
        return replace(result, notes=tuple(notes), divergence=first_decision(free_gates, coefficients))
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


def _judge_coefficients(setting: _Setting, candidate: Iterations) -> tuple[CoefficientResult, ...]:
    """Compare the coefficients of dynamic kernels; empty where there are none, or the candidate does not give them."""
    metadata = setting.metadata
    found, expected = (_coefficients(metadata, run, setting.images) for run in (candidate, setting.free))
    if len(found) < len(metadata.kernels):
        return ()
    return judge_coefficients(metadata.kernels, found, expected, setting.allowed.coefficients)


def _coefficients(metadata: ExportMetadata, iterations: Iterations, images: int) -> list[NDArray[np.float32]]:
    """[N, size] a predictor, as far as they are given."""
    arrays = [runs.joined(iterations, predictor.coefficients, images) for predictor in metadata.kernels]
    return [array for array in arrays if array is not None]


def _backend(
    name: str, options: CompareOptions, model: onnx.ModelProto, metadata: ExportMetadata, network: Any
) -> Backend:
    if name == TORCH:
        return TorchBackend(network, metadata)
    if name == ONNXRUNTIME:
        return OnnxRuntimeBackend(model, metadata, options.provider)
    return TensorRtBackend(options.model, model, options.plan)


def _not_run(name: str, reason: str, required: bool, detail: str = "") -> BackendResult:
    cause = (Cause("run", f"{name} was asked for, but cannot run: {reason}"),) if required else ()
    return BackendResult(name, detail, not_run=reason, causes=cause)


def _nothing_ran(results: Sequence[BackendResult]) -> tuple[Cause, ...]:
    if any(result.not_run is None for result in results):
        return ()
    return (Cause("run", "nothing was compared: no backend ran beside the reference"),)


def _shape(options: CompareOptions, metadata: ExportMetadata) -> tuple[int, int, int, int]:
    """The batch and size to run at.

    Raises:
        Dyn2trtError: the model is static there, or its size has to be a multiple.
    """
    shape = options.input_shape or metadata.input_shape
    shown, exported = "x".join(map(str, shape)), "x".join(map(str, metadata.input_shape))
    for axis in range(4):
        if shape[axis] != metadata.input_shape[axis] and axis not in metadata.dynamic_axes:
            raise Dyn2trtError(
                f"the model takes {exported}, not {shown}: {'NCHW'[axis]} is static; export it with dynamic axes"
            )
    if any(size % metadata.size_multiple for size in shape[2:]):
        raise Dyn2trtError(f"the model takes sizes that are multiples of {metadata.size_multiple}, not {shown}")
    return shape


def _batches(x: NDArray[np.float32], size: int, *, fill: bool) -> list[Feed]:
    """Cut x into batches; with ``fill`` the last one is filled up by repeating images from the start."""
    if fill:
        x = x[np.arange(-(-len(x) // size) * size) % len(x)]
    return [{INPUT: np.ascontiguousarray(x[start : start + size])} for start in range(0, len(x), size)]
