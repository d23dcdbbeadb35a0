"""What a report shows, part by part, of what a run left in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dyn2trt.activity.archive import Decisions
from dyn2trt.activity.summary import Activity, summarise_activity
from dyn2trt.bench.record import NotRun, Record
from dyn2trt.bench.summary import Statement, statements, warnings
from dyn2trt.compare.result import BackendResult, Comparison
from dyn2trt.export.dynamic import describe_dynamic
from dyn2trt.export.metadata import Block
from dyn2trt.report import tables
from dyn2trt.report.dynamic_kernels import spreads
from dyn2trt.report.findings import Findings
from dyn2trt.report.headline import Fact, backend_name, headline
from dyn2trt.report.pictures import Gallery, Weight, gallery
from dyn2trt.report.plots import Plot, activity_plot, coefficient_plot, latency_plot, layers_plot


@dataclass(frozen=True)
class BatchView:
    batch: int
    statements: tuple[Statement, ...]
    plot: Plot | None
    latency: tables.Table
    break_even: tables.Table | None


@dataclass(frozen=True)
class BenchView:
    title: str
    warnings: tuple[str, ...]
    batches: tuple[BatchView, ...]
    blocks: tables.Table | None
    memory: tables.Table | None
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class BackendView:
    name: str
    detail: str
    passed: bool
    causes: tuple[str, ...]
    notes: tuple[str, ...]
    outputs: tables.Table
    gates: tables.Table | None
    coefficients: tables.Table | None


@dataclass(frozen=True)
class ReportView:
    """What the templates show; each field is a variable of theirs. None and empty parts are left out."""

    title: str
    subtitle: str
    facts: list[Fact]
    dynamic: str
    statements: list[tuple[str, Statement]]
    """Where, and what was found there."""
    benches: list[BenchView]
    activity_plot: Plot | None
    activity_table: tables.Table | None
    layers_plot: Plot | None
    coefficient_plot: Plot | None
    coefficient_table: tables.Table | None
    gallery: Gallery | None
    comparison: Comparison | None
    backends: list[BackendView]
    not_run: list[NotRun]

    @property
    def plots(self) -> list[Plot]:
        """All of them."""
        latency = [batch.plot for bench in self.benches for batch in bench.batches]
        return [p for p in (*latency, self.layers_plot, self.activity_plot, self.coefficient_plot) if p is not None]


def view_of(run: Findings, weight: Weight, limit: int) -> ReportView:
    """Put together what the templates show; ``weight`` and ``limit`` are those of `dyn2trt.report.pictures.gallery`."""
    blocks = run.metadata.blocks if run.metadata is not None else ()
    decided = run.activity
    shown = gallery(decided, blocks, weight, limit) if decided is not None and decided.masks else None
    found = spreads(decided.coefficients, run.metadata.kernels if run.metadata else ()) if decided is not None else ()
    activity = _activity(run)
    layers = bool(blocks) and all(block.gate == "layer" for block in blocks)
    compared = run.comparison.backends if run.comparison is not None else ()
    not_run = [
        *run.missing,
        *(
            NotRun(f"{item.what} ({record.mode.backend})", item.why)
            for record in run.benches
            for item in record.not_run
        ),
        *(NotRun(f"comparison with {b.name}", b.not_run) for b in compared if b.not_run is not None),
        *_no_gpu(run.benches),
    ]
    return ReportView(
        title=_title(run),
        subtitle=_subtitle(run),
        facts=headline(run),
        dynamic=_dynamic(run),
        statements=[
            (f"{backend_name(record)}, batch {batch.batch}", statement)
            for record in run.benches
            for batch in record.batches
            for statement in statements(batch)
        ],
        benches=[_bench(record, index) for index, record in enumerate(run.benches)],
        activity_plot=activity_plot(activity, "activity", layers=layers) if activity is not None else None,
        activity_table=tables.activity_table(activity) if activity is not None else None,
        layers_plot=_layers_plot(decided, blocks) if decided is not None else None,
        coefficient_plot=coefficient_plot(found, "coefficients") if found else None,
        coefficient_table=tables.coefficient_table(found, len(decided.images)) if found and decided else None,
        gallery=shown,
        comparison=run.comparison,
        backends=[_compared(backend) for backend in compared if backend.not_run is None],
        not_run=not_run,
    )


def _activity(run: Findings) -> Activity | None:
    """As a benchmark has summed it up; else of the masks themselves, where the model's metadata are there."""
    for record in run.benches:
        if record.activity is not None:
            return record.activity
    blocks, decided = run.metadata.blocks if run.metadata is not None else (), run.activity
    if decided is None or not blocks or len(blocks) != len(decided.masks):
        return None
    return summarise_activity(blocks, decided.masks)


def _layers_plot(decided: Decisions, blocks: Sequence[Block]) -> Plot | None:
    """How many layers an image runs, where gates decide on whole layers."""
    masks = [mask for block, mask in zip(blocks, decided.masks, strict=False) if block.gate == "layer"]
    if not masks:
        return None
    executed = [sum(bool(mask[i].any()) for mask in masks) for i in range(len(decided.images))]
    return layers_plot(executed, len(masks), "layers")


def _dynamic(run: Findings) -> str:
    """What is decided for every image."""
    if run.metadata is not None:
        return describe_dynamic(run.metadata)
    return ", ".join(run.benches[0].model.dynamic) if run.benches else ""


def _bench(record: Record, index: int) -> BenchView:
    batches = []
    for batch in record.batches:
        name = f"latency-{index}-{batch.batch}"
        batches.append(
            BatchView(
                batch=batch.batch,
                statements=statements(batch),
                plot=latency_plot(batch, record.activity, name) if batch.sweep else None,
                latency=tables.latency_table(record, batch),
                break_even=tables.break_even_table(batch) if batch.break_even else None,
            )
        )
    return BenchView(
        title=backend_name(record),
        warnings=warnings(record),
        batches=tuple(batches),
        blocks=tables.block_table(record) if record.blocks else None,
        memory=tables.memory_table(record) if record.memory else None,
        environment=tuple(tables.environment_rows(record)),
    )


def _compared(backend: BackendResult) -> BackendView:
    return BackendView(
        name=backend.name,
        detail=backend.detail,
        passed=backend.passed,
        causes=tuple(cause.message for cause in backend.causes),
        notes=backend.notes,
        outputs=tables.output_table(backend),
        gates=tables.gate_table(backend) if backend.gates else None,
        coefficients=tables.compared_coefficients(backend) if backend.coefficients else None,
    )


def _title(run: Findings) -> str:
    if run.metadata is not None:
        return run.metadata.network
    if run.benches:
        return run.benches[0].model.network
    return run.comparison.network if run.comparison is not None else run.name


def _subtitle(run: Findings) -> str:
    parts: list[str] = []
    if run.metadata is not None:
        parts += [f"{name} {value}" for name, value in run.metadata.options.items()]
        parts += ["×".join(map(str, run.metadata.input_shape)), run.metadata.precision]
        parts.append(run.metadata.checkpoint.name if run.metadata.checkpoint is not None else "random weights")
    elif run.benches:
        model = run.benches[0].model
        parts += ["×".join(map(str, model.input_shape)), model.precision]
    elif run.comparison is not None:
        parts.append(run.comparison.precision)
    return ", ".join(parts)


def _no_gpu(benches: Sequence[Record]) -> list[NotRun]:
    if not benches or any(record.mode.backend == "tensorrt" for record in benches):
        return []
    why = (
        "no GPU on the machine that measured"
        if benches[0].environment.gpu is None
        else "no benchmark of it was asked for"
    )
    return [NotRun("latency in TensorRT", f"{why}; dyn2trt bench --backend tensorrt measures it")]
