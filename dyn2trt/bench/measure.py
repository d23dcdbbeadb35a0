"""The whole benchmark of one exported model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from dyn2trt import __version__
from dyn2trt.activity.summary import summarise_activity
from dyn2trt.bench.batch import measure_batch
from dyn2trt.bench.environment import examine_environment
from dyn2trt.bench.options import BenchOptions
from dyn2trt.bench.per_block import time_blocks
from dyn2trt.bench.record import BlockTiming, Memory, Model, NotRun, Record, Settings
from dyn2trt.bench.sessions import DENSE, FORCED, OWN, STATIC, graphs_of, sessions_for
from dyn2trt.bench.sweep.contenders import batches_of
from dyn2trt.bench.timing.interleave import Budget
from dyn2trt.engine.passport import read_passport
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.dynamic import dynamic_parts
from dyn2trt.export.metadata import INPUT, MASK_PREFIX, ExportMetadata, load_model, read_metadata
from dyn2trt.export.surgery import with_decision_outputs
from dyn2trt.export.surgery.bodiless import without_body
from dyn2trt.files import sha256
from dyn2trt.gates.alike import warn_of_like_decisions
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession, usable_cores


@dataclass(frozen=True)
class Measurement:
    """What `measure` returns."""

    record: Record
    masks: tuple[npt.NDArray[np.bool_], ...]
    """The model's own decisions on the images, bool [K, 1, Ho, Wo] per gated block; empty without ONNX Runtime."""
    coefficients: tuple[npt.NDArray[np.float32], ...] = ()
    """What it predicts for its dynamic kernels, float32 [K, size] per predictor; empty without ONNX Runtime."""


def measure(
    path: Path,
    images: npt.NDArray[np.float32],
    options: BenchOptions,
    *,
    images_spec: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Benchmark the exported model at ``path`` on ``images`` [K, C, H, W].

    Args:
        images_spec: where the images come from, for the record.
        progress: called with a line on each step.

    Raises:
        Dyn2trtError: the model, the options or the plans do not fit; MissingDependency when the backend is not there.
    """
    model = load_model(path)
    metadata = read_metadata(model)
    if why := without_body(model):
        raise Dyn2trtError(f"{path} cannot be measured: {why}")
    graphs = graphs_of(model)
    environment = examine_environment()
    threads = options.threads or usable_cores()
    not_run: list[NotRun] = []
    masks, coefficients = _decisions(model, metadata, images, threads, not_run)
    warn_of_like_decisions(masks)
    with sessions_for(options, graphs, threads) as sessions:
        for role in graphs:
            if role != FORCED and (why := sessions.why_not(role)):
                raise Dyn2trtError(f"no comparison without every network: {why}")
        if options.backend == "tensorrt":
            not_run.extend(timed_decisions(metadata, options.plans[OWN]))
        sizes, not_served = served_batches(metadata, options)
        not_run.extend(not_served)
        grids = [(int(mask.shape[2]), int(mask.shape[3])) for mask in masks] or [b.grid for b in metadata.blocks]
        twins = [role for role in (DENSE, STATIC) if role in graphs]
        batches = tuple(
            measure_batch(size, sessions, images, twins, metadata, grids, options, not_run, progress) for size in sizes
        )
        memory: list[Memory] = []
        if options.memory:
            progress("memory")
            x = batches_of(images, sizes[0])[0]
            memory = [Memory(role, **asdict(sessions.get(role, sizes[0]).memory({INPUT: x}))) for role in (*twins, OWN)]
        blocks = _blocks(model, images[:1], masks, metadata, threads, options, not_run, progress)
        mode = sessions.mode
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
            dynamic_parts(metadata),
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
        activity=summarise_activity(metadata.blocks, masks) if masks else None,
        batches=batches,
        blocks=tuple(blocks),
        memory=tuple(memory),
        not_run=tuple(not_run),
    )
    return Measurement(record, tuple(masks), tuple(coefficients))


def timed_decisions(metadata: ExportMetadata, plan: Path) -> list[NotRun]:
    """What the user should know of a plan of the network itself that gives its decisions as outputs."""
    decisions = {f"{MASK_PREFIX}{i}" for i in range(len(metadata.blocks))} | {p.coefficients for p in metadata.kernels}
    given = [name for name in read_passport(plan).outputs if name in decisions]
    if not given:
        return []
    why = (
        f"{plan} gives {given[0]}{', ...' * (len(given) > 1)} too, and its times hold what that costs; leave --plan "
        "out, or give the plan of a file that was exported without --with-decisions"
    )
    return [NotRun("the plan without decisions among its outputs", why)]


def _decisions(
    model: onnx.ModelProto,
    metadata: ExportMetadata,
    images: npt.NDArray[np.float32],
    threads: int,
    not_run: list[NotRun],
) -> tuple[list[npt.NDArray[np.bool_]], list[npt.NDArray[np.float32]]]:
    """The model's own masks and coefficients, by ONNX Runtime on the CPU whatever the backend measured."""
    gates = [f"{MASK_PREFIX}{i}" for i in range(len(metadata.blocks))]
    predictors = [predictor.coefficients for predictor in metadata.kernels]
    if not gates and not predictors:
        return [], []
    try:
        session = OnnxRuntimeSession(with_decision_outputs(model), threads)
    except MissingDependency as reason:
        not_run.append(NotRun("what the model decides on the images", str(reason)))
        return [], []
    step = 1 if 0 in metadata.dynamic_axes else metadata.input_shape[0]
    parts = [session.run({INPUT: batch}, gates + predictors) for batch in batches_of(images, step)]
    found = {name: np.concatenate([part[name] for part in parts])[: len(images)] for name in gates + predictors}
    return [found[name] for name in gates], [found[name] for name in predictors]


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
    if not metadata.blocks:
        not_run.append(NotRun("times of single blocks", "the network has no gated blocks"))
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
