"""The whole benchmark of one exported model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx

from dyn2trt import __version__
from dyn2trt.bench.activity import summarise_activity
from dyn2trt.bench.backends import DENSE, FORCED, SPARSE, Backend, OnnxRuntimeBackend, TensorRtBackend
from dyn2trt.bench.break_even import break_even, verdict
from dyn2trt.bench.contenders import batches_of, forced, mask_sets, natural, point_name
from dyn2trt.bench.environment import examine_environment, usable_cores
from dyn2trt.bench.interleave import Budget, Contender, interleave
from dyn2trt.bench.latency import MIN_ROUNDS, speedup, summarise
from dyn2trt.bench.masks import PATTERNS
from dyn2trt.bench.onnxruntime_session import OnnxRuntimeSession
from dyn2trt.bench.per_block import time_blocks
from dyn2trt.bench.record import Activity, Batch, BlockTiming, Memory, Model, NotRun, Record, Settings, SweepPoint
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.metadata import INPUT, MASK_PREFIX, ExportMetadata, load_model, read_metadata
from dyn2trt.export.surgery import dense_twin, with_mask_outputs
from dyn2trt.export.surgery.overruled import with_overruled_gates
from dyn2trt.files import sha256

RATIOS = (0.0625, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Measurement:
    """What `measure` returns."""

    record: Record
    masks: tuple[npt.NDArray[np.bool_], ...]
    """The model's own decisions on the images, bool [K, 1, Ho, Wo] a gated block; empty without ONNX Runtime."""


@dataclass(frozen=True)
class BenchOptions:
    """What to measure and how."""

    backend: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    batch_sizes: tuple[int, ...] = ()
    """Empty: the batch that the model was exported at."""
    ratios: tuple[float, ...] = RATIOS
    """Active ratios of the sweep; empty for none."""
    patterns: tuple[str, ...] = tuple(PATTERNS)
    masks_per_ratio: int = 4
    budget: Budget = field(default_factory=Budget)
    """Of one batch size; the blocks of ``per_block`` share one more among them."""
    threads: int | None = None
    """Intra-op threads of ONNX Runtime; None: every core this process may use."""
    seed: int = 0
    per_block: bool = False
    memory: bool = True
    plans: tuple[tuple[str, Path], ...] = ()
    """(role, plan) for TensorRT."""
    cuda_graphs: bool = True
    transfers: bool = False

    def __post_init__(self) -> None:
        if bad := [r for r in self.ratios if not 0 <= r <= 1]:
            raise Dyn2trtError(f"active ratios lie between 0 and 1, not {', '.join(f'{r:g}' for r in bad)}")
        if unknown := [p for p in self.patterns if p not in PATTERNS]:
            raise Dyn2trtError(f"mask patterns are {', '.join(PATTERNS)}, not {', '.join(unknown)}")
        if bad_sizes := [b for b in self.batch_sizes if b < 1]:
            raise Dyn2trtError(f"batch sizes are at least 1, not {', '.join(map(str, bad_sizes))}")
        if self.budget.min_rounds < MIN_ROUNDS:
            raise Dyn2trtError(
                f"a 95 % interval needs at least {MIN_ROUNDS} rounds, not {self.budget.min_rounds}; raise --iterations"
            )
        if self.threads is not None and self.threads < 1:
            raise Dyn2trtError(f"at least one thread is needed, not {self.threads}")


def graphs_of(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """The three graphs that a benchmark runs, by role.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt, or has no gates.
    """
    metadata = read_metadata(model)
    if not metadata.blocks:
        raise Dyn2trtError(
            f"the model has no gated blocks (exported with --ops {metadata.ops}), so there is nothing to compare with "
            "its dense twin; export it with --ops composite"
        )
    return {DENSE: dense_twin(model), SPARSE: model, FORCED: with_overruled_gates(model)}


def measure(
    path: Path,
    images: npt.NDArray[np.float32],
    options: BenchOptions,
    *,
    images_spec: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Benchmark the exported model at ``path`` on ``images`` [K, 3, H, W].

    Args:
        images_spec: where the images come from, for the record.
        progress: called with a line on each step.

    Raises:
        Dyn2trtError: the model, the options or the plans do not fit; MissingDependency when the backend is not there.
    """
    model = load_model(path)
    metadata = read_metadata(model)
    graphs = graphs_of(model)
    environment = examine_environment()
    threads = options.threads or usable_cores()
    not_run: list[NotRun] = []
    activity, masks = _activity(model, metadata, images, threads, not_run)
    backend: Backend = (
        OnnxRuntimeBackend(graphs, threads)
        if options.backend == "onnxruntime"
        else TensorRtBackend(dict(options.plans), options.cuda_graphs, options.transfers)
    )
    with backend:
        if why := backend.why_not(DENSE) or backend.why_not(SPARSE):
            raise Dyn2trtError(f"no comparison without both networks: {why}")
        sizes, not_served = served_batches(metadata, options)
        not_run.extend(not_served)
        grids = [(int(mask.shape[2]), int(mask.shape[3])) for mask in masks] or [b.grid for b in metadata.blocks]
        batches = tuple(_batch(size, backend, images, grids, options, not_run, progress) for size in sizes)
        memory: list[Memory] = []
        if options.memory:
            progress("memory")
            memory = [backend.memory(role, batches_of(images, sizes[0])[0]) for role in (DENSE, SPARSE)]
        blocks = _blocks(model, images[:1], masks, metadata, threads, options, not_run, progress)
        mode = backend.mode
    record = Record(
        version=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        model=Model(
            path.name,
            sha256(path),
            metadata.network,
            metadata.options,
            metadata.precision,
            metadata.ops,
            (*metadata.input_shape[:2], *images.shape[2:]),
        ),
        mode=mode,
        environment=environment,
        settings=Settings(
            images=images_spec or f"{len(images)} arrays",
            seed=options.seed,
            warmup=options.budget.warmup,
            min_rounds=options.budget.min_rounds,
            max_rounds=options.budget.max_rounds,
            seconds=options.budget.seconds,
            masks_per_ratio=options.masks_per_ratio,
        ),
        activity=activity,
        batches=batches,
        blocks=tuple(blocks),
        memory=tuple(memory),
        not_run=tuple(not_run),
    )
    return Measurement(record, tuple(masks))


def _activity(
    model: onnx.ModelProto,
    metadata: ExportMetadata,
    images: npt.NDArray[np.float32],
    threads: int,
    not_run: list[NotRun],
) -> tuple[Activity | None, list[npt.NDArray[np.bool_]]]:
    """The model's own activity and masks, by ONNX Runtime on the CPU whatever the backend measured."""
    names = [f"{MASK_PREFIX}{i}" for i in range(len(metadata.blocks))]
    try:
        session = OnnxRuntimeSession(with_mask_outputs(model), threads)
    except MissingDependency as reason:
        not_run.append(NotRun("the model's own activity", str(reason)))
        return None, []
    step = 1 if 0 in metadata.dynamic_axes else metadata.input_shape[0]
    parts = [session.run({INPUT: batch}, names) for batch in batches_of(images, step)]
    masks = [np.concatenate([part[name] for part in parts])[: len(images)] for name in names]
    return summarise_activity(metadata.blocks, masks), masks


def served_batches(metadata: ExportMetadata, options: BenchOptions) -> tuple[tuple[int, ...], list[NotRun]]:
    """The batch sizes that the model can run, and those that it cannot with the reason.

    Raises:
        Dyn2trtError: it can run none of them.
    """
    exported = metadata.input_shape[0]
    wanted = options.batch_sizes or (exported,)
    if 0 in metadata.dynamic_axes:
        return wanted, []
    why = f"the model has a fixed batch of {exported}; export it with --dynamic-batch"
    if exported not in wanted:
        raise Dyn2trtError(f"batch sizes {', '.join(map(str, wanted))}: {why}, or measure {exported}")
    return (exported,), [NotRun(f"batch {size}", why) for size in wanted if size != exported]


def _batch(
    size: int,
    backend: Backend,
    images: npt.NDArray[np.float32],
    grids: Sequence[tuple[int, int]],
    options: BenchOptions,
    not_run: list[NotRun],
    progress: Callable[[str], None],
) -> Batch:
    batches = batches_of(images, size)
    contenders: dict[str, Contender] = {role: natural(backend.session(role, size), batches) for role in (DENSE, SPARSE)}
    points = [(pattern, ratio) for pattern in options.patterns for ratio in sorted(set(options.ratios))]
    if points and (why := backend.why_not(FORCED)):
        not_run.append(NotRun(f"sweep of active ratios, batch {size}", why))
        points = []
    for pattern, ratio in points:
        masks = mask_sets(pattern, ratio, grids, size, options.masks_per_ratio, options.seed)
        contenders[point_name(pattern, ratio)] = forced(backend.session(FORCED, size), batches, masks)
    progress(f"batch {size}: warming up {len(contenders)} contenders")
    times = interleave(
        contenders,
        options.budget,
        options.seed,
        lambda rounds: progress(f"batch {size}: {rounds} rounds of {len(contenders)} runs"),
    )
    sweep = tuple(
        SweepPoint(
            pattern,
            ratio,
            summarise(times[point_name(pattern, ratio)], size),
            speedup(times[DENSE], times[point_name(pattern, ratio)]),
        )
        for pattern, ratio in points
    )
    own = speedup(times[DENSE], times[SPARSE])
    return Batch(
        batch=size,
        dense=summarise(times[DENSE], size),
        sparse=summarise(times[SPARSE], size),
        speedup=own,
        verdict=verdict(own),
        sweep=sweep,
        break_even=tuple(
            break_even(pattern, *zip(*((p.ratio, p.speedup) for p in sweep if p.pattern == pattern), strict=True))
            for pattern in (options.patterns if sweep else ())
        ),
    )


def _blocks(
    model: onnx.ModelProto,
    image: npt.NDArray[np.float32],
    masks: Sequence[npt.NDArray[np.bool_]],
    metadata: ExportMetadata,
    threads: int,
    options: BenchOptions,
    not_run: list[NotRun],
    progress: Callable[[str], None],
) -> list[BlockTiming]:
    if not options.per_block:
        return []
    if options.backend != "onnxruntime":
        not_run.append(NotRun("times of single blocks", "they are measured with --backend onnxruntime only"))
        return []
    if metadata.input_shape[0] != 1 and 0 not in metadata.dynamic_axes:
        image = np.repeat(image, metadata.input_shape[0], axis=0)
    fractions = {block.name: float(mask[:1].mean()) for block, mask in zip(metadata.blocks, masks, strict=True)}
    whole = options.budget
    share = Budget(whole.warmup, whole.min_rounds, whole.max_rounds, whole.seconds / len(metadata.blocks))
    timings, left_out = time_blocks(
        model, image, fractions, threads, share, options.seed, lambda name: progress(f"block {name}")
    )
    not_run.extend(left_out)
    return timings
