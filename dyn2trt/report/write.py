"""Lays a run folder out as ``report.html`` and ``report.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dyn2trt import __version__
from dyn2trt.activity.archive import Decisions
from dyn2trt.activity.summary import Activity, summarise_activity
from dyn2trt.bench.record import NotRun, Record
from dyn2trt.bench.summary import Statement, statements, warnings
from dyn2trt.export.dynamic import describe_dynamic
from dyn2trt.export.metadata import Block
from dyn2trt.files import replacing, write_text
from dyn2trt.heat import colour_bar
from dyn2trt.report import tables
from dyn2trt.report.dynamic_kernels import spreads
from dyn2trt.report.encode import data_uri
from dyn2trt.report.headline import backend_name, headline
from dyn2trt.report.pictures import Gallery, Picture, Weight, gallery
from dyn2trt.report.plots import Plot, activity_plot, coefficient_plot, latency_plot, layers_plot
from dyn2trt.report.run_folder import RunFolder, read_run_folder
from dyn2trt.report.svg import DARK, LIGHT, for_file, for_page


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


def write_report(folder: Path, output: Path, *, weight: Weight = "blocks", pictures: int = 12) -> list[Path]:
    """Write the page ``output`` (.html), and the Markdown beside it with its figures in ``<name>-figures/``.

    Returns the two documents.

    Raises:
        Dyn2trtError: the folder holds nothing to report, or something damaged.
    """
    run = read_run_folder(folder)
    view = _view(run, weight, pictures)
    environment = Environment(
        loader=PackageLoader("dyn2trt.report"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"jpeg": lambda b: data_uri(b, "jpeg"), "png": lambda b: data_uri(b, "png")}
    environment.globals |= {
        "for_page": for_page,
        "cell": _markdown_cell,
        "caption": _caption,
        "ran": lambda layers: ", ".join(str(i) for i, on in enumerate(layers, 1) if on) or "none",
        "strip": lambda layers: "".join("■" if on else "□" for on in layers),
    }
    write_text(output, environment.get_template("report.html.j2").render(view))
    markdown, figures = output.with_suffix(".md"), output.with_name(f"{output.stem}-figures")
    _write_figures(view, figures)
    write_text(markdown, environment.get_template("report.md.j2").render(view, figures=figures.name))
    return [output, markdown]


def _view(run: RunFolder, weight: Weight, limit: int) -> dict[str, Any]:
    blocks = run.metadata.blocks if run.metadata is not None else ()
    decided = run.activity
    shown = gallery(decided, blocks, weight, limit) if decided is not None and decided.masks else None
    found = spreads(decided.coefficients, run.metadata.kernels if run.metadata else ()) if decided is not None else ()
    activity = _activity(run)
    layers = bool(blocks) and all(block.gate == "layer" for block in blocks)
    compared = run.comparison["backends"] if run.comparison is not None else []
    not_run = [
        *run.missing,
        *(
            NotRun(f"{item.what} ({record.mode.backend})", item.why)
            for record in run.benches
            for item in record.not_run
        ),
        *(NotRun(f"comparison with {b['name']}", b["not_run"]) for b in compared if b["not_run"]),
        *_no_gpu(run.benches),
    ]
    return {
        "version": __version__,
        "title": _title(run),
        "subtitle": _subtitle(run),
        "facts": headline(run),
        "dynamic": _dynamic(run),
        "statements": [
            (f"{backend_name(record)}, batch {batch.batch}", statement)
            for record in run.benches
            for batch in record.batches
            for statement in statements(batch)
        ],
        "benches": [_bench(record, index) for index, record in enumerate(run.benches)],
        "activity_plot": activity_plot(activity, "activity", layers=layers) if activity is not None else None,
        "activity_table": tables.activity_table(activity) if activity is not None else None,
        "layers_plot": _layers_plot(decided, blocks) if decided is not None else None,
        "coefficient_plot": coefficient_plot(found, "coefficients") if found else None,
        "coefficient_table": tables.coefficient_table(found, len(decided.images)) if found and decided else None,
        "gallery": shown,
        "colour_bar": colour_bar(),
        "comparison": run.comparison,
        "backends": [_compared(backend) for backend in compared if not backend["not_run"]],
        "not_run": not_run,
        "light": LIGHT,
        "dark": DARK,
    }


def _activity(run: RunFolder) -> Activity | None:
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


def _dynamic(run: RunFolder) -> str:
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


def _compared(backend: dict[str, Any]) -> BackendView:
    return BackendView(
        name=backend["name"],
        detail=backend["detail"],
        passed=backend["passed"],
        causes=tuple(cause["message"] for cause in backend["causes"]),
        notes=tuple(backend["notes"]),
        outputs=tables.output_table(backend),
        gates=tables.gate_table(backend) if backend["gates"] else None,
        coefficients=tables.compared_coefficients(backend) if backend.get("coefficients") else None,
    )


def _title(run: RunFolder) -> str:
    if run.metadata is not None:
        return run.metadata.network
    return run.benches[0].model.network if run.benches else str((run.comparison or {}).get("network", run.path.name))


def _subtitle(run: RunFolder) -> str:
    parts: list[str] = []
    if run.metadata is not None:
        parts += [f"{name} {value}" for name, value in run.metadata.options.items()]
        parts += ["×".join(map(str, run.metadata.input_shape)), run.metadata.precision]
        parts.append(run.metadata.checkpoint.name if run.metadata.checkpoint is not None else "random weights")
    elif run.benches:
        model = run.benches[0].model
        parts += ["×".join(map(str, model.input_shape)), model.precision]
    elif run.comparison is not None:
        parts.append(run.comparison["precision"])
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


def _write_figures(view: dict[str, Any], folder: Path) -> None:
    plots: list[Plot] = [b.plot for bench in view["benches"] for b in bench.batches if b.plot is not None]
    plots += [view[name] for name in ("layers_plot", "activity_plot", "coefficient_plot") if view[name] is not None]
    for plot in plots:
        write_text(folder / f"{plot.name}.svg", for_file(plot.wide))
    shown: Gallery | None = view["gallery"]
    for picture in shown.pictures if shown is not None else ():
        for name, data in ((f"input-{picture.number}", picture.photograph), (f"heat-{picture.number}", picture.heat)):
            if data is None:
                continue
            with replacing(folder / f"{name}.jpg") as temporary:
                temporary.write_bytes(data)


def _caption(picture: Picture) -> str:
    parts = []
    if picture.layers:
        parts.append(f"{sum(picture.layers)} of {len(picture.layers)} layers run")
    if picture.work is not None:
        parts.append(f"{picture.work:.0%} of the gated work asked for")
    return f"Input {picture.number}" + (f": {', '.join(parts)}" if parts else "")


def _markdown_cell(text: str) -> str:
    """Text that cannot break out of a table's cell or be taken for markup."""
    for character in "\\|*_`<[":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
