"""One model on all backends, compared with the reference: the work behind ``dyn2trt compare``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from dyn2trt.blocks.evaluation import evaluation_copy
from dyn2trt.compare import runs
from dyn2trt.compare.allowance import allowed_errors, yardstick
from dyn2trt.compare.backends import (
    ONNXRUNTIME,
    TORCH,
    Backend,
    OnnxRuntimeBackend,
    TensorRtBackend,
    TorchBackend,
)
from dyn2trt.compare.candidate import Setting, coefficients_of, compare_backend, not_run
from dyn2trt.compare.options import CompareOptions
from dyn2trt.compare.reference import reference_network
from dyn2trt.compare.result import BackendResult, Cause, Comparison
from dyn2trt.compare.runs import Iterations
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.metadata import ExportMetadata, load_model, read_metadata
from dyn2trt.files import sha256
from dyn2trt.gates.alike import warn_of_like_decisions
from dyn2trt.images import load_inputs
from dyn2trt.runtimes.names import FORCED, INPUT, LOGITS
from dyn2trt.runtimes.onnxruntime_session import parse_provider
from dyn2trt.runtimes.session import Feed


@dataclass(frozen=True)
class Evidence:
    """What was fed and what came, for saving."""

    x: NDArray[np.float32]
    """The images, [N, C, H, W]."""
    reference_masks: tuple[NDArray[np.bool_], ...]
    """What the reference decided, [N, 1, Ho, Wo] per block."""
    reference_coefficients: tuple[NDArray[np.float32], ...]
    """What it predicted for its dynamic kernels, [N, size] per predictor."""
    feeds: list[Feed]
    """A batch each; the last is filled up by repeating images where the batch is static."""
    forced_feeds: list[Feed]
    free: dict[str, Iterations]
    """Results as they are, by backend, the reference first."""
    forced: dict[str, Iterations]


def compare_model(
    options: CompareOptions, progress: Callable[[str], None] = lambda _: None, *, network: nn.Module | None = None
) -> tuple[Comparison, Evidence]:
    """Compare; `progress` is told what is being run.

    Args:
        network: what the model was exported from, where it is at hand; otherwise it is built from the metadata.

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

    if network is not None:
        network = evaluation_copy(network)
    elif TORCH in options.backends:
        network = reference_network(metadata, options.checkpoint)
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
    setting = Setting(metadata, options, allowed, feeds, forced, reference, torch_low, free, len(x))

    free_runs, forced_runs = {reference.name: free}, {reference.name: free} if gates else {}
    results = []
    for name, backend in made.items():
        if isinstance(backend, str):
            result = not_run(name, backend, options.required)
        else:
            progress(name)
            result = compare_backend(backend, setting, free_runs, forced_runs)
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
    coefficients = tuple(coefficients_of(metadata, free, len(x)))
    return comparison, Evidence(x, masks, coefficients, feeds, forced if gates else [], free_runs, forced_runs)


def _backend(
    name: str, options: CompareOptions, model: onnx.ModelProto, metadata: ExportMetadata, network: Any
) -> Backend:
    if name == TORCH:
        return TorchBackend(network, metadata)
    if name == ONNXRUNTIME:
        return OnnxRuntimeBackend(model, metadata, parse_provider(options.provider))
    return TensorRtBackend(options.model, model, options.plan)


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
