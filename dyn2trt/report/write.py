"""Lays a run folder out as ``report.html`` and ``report.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dyn2trt import __version__
from dyn2trt.bench.record import NotRun, Record
from dyn2trt.files import replacing, write_text
from dyn2trt.heat import colour_bar
from dyn2trt.report import tables
from dyn2trt.report.encode import data_uri
from dyn2trt.report.pictures import Gallery, Weight, gallery
from dyn2trt.report.plots import Plot, activity_plot, latency_plot
from dyn2trt.report.run_folder import RunFolder, read_run_folder
from dyn2trt.report.svg import DARK, LIGHT, for_file, for_page


@dataclass(frozen=True)
class BatchView:
    batch: int
    verdict: str
    recommended: bool
    plot: Plot | None
    latency: tables.Table
    break_even: tables.Table | None


@dataclass(frozen=True)
class BenchView:
    title: str
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
    gates: tables.Table


@dataclass(frozen=True)
class Fact:
    """A headline figure."""

    value: str
    label: str


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
    environment.globals |= {"for_page": for_page, "cell": _markdown_cell}
    write_text(output, environment.get_template("report.html.j2").render(view))
    markdown, figures = output.with_suffix(".md"), output.with_name(f"{output.stem}-figures")
    _write_figures(view, figures)
    write_text(markdown, environment.get_template("report.md.j2").render(view, figures=figures.name))
    return [output, markdown]


def _view(run: RunFolder, weight: Weight, limit: int) -> dict[str, Any]:
    measured = [record for record in run.benches if record.activity is not None]
    activity = measured[0].activity if measured else None
    blocks = run.metadata.blocks if run.metadata is not None else ()
    shown = gallery(run.activity, blocks, weight, limit) if run.activity is not None else None
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
        "facts": _facts(run),
        "verdicts": [
            (f"{_backend(record)}, batch {batch.batch}", batch.verdict.text, batch.verdict.sparse_recommended)
            for record in run.benches
            for batch in record.batches
        ],
        "benches": [_bench(record, index) for index, record in enumerate(run.benches)],
        "activity_plot": activity_plot(activity, "activity") if activity is not None else None,
        "activity_table": tables.activity_table(measured[0]) if measured else None,
        "gallery": shown,
        "colour_bar": colour_bar(),
        "comparison": run.comparison,
        "backends": [_compared(backend) for backend in compared if not backend["not_run"]],
        "not_run": not_run,
        "light": LIGHT,
        "dark": DARK,
    }


def _bench(record: Record, index: int) -> BenchView:
    batches = []
    for batch in record.batches:
        name = f"latency-{index}-{batch.batch}"
        batches.append(
            BatchView(
                batch=batch.batch,
                verdict=batch.verdict.text,
                recommended=batch.verdict.sparse_recommended,
                plot=latency_plot(batch, record.activity, name) if batch.sweep else None,
                latency=tables.latency_table(record, batch),
                break_even=tables.break_even_table(batch) if batch.break_even else None,
            )
        )
    return BenchView(
        title=_backend(record),
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
        gates=tables.gate_table(backend),
    )


def _backend(record: Record) -> str:
    names = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
    mode = record.mode
    where = f"{mode.threads} threads" if mode.threads is not None else record.environment.gpu or "GPU"
    return f"{names.get(mode.backend, mode.backend)}, {where}"


def _title(run: RunFolder) -> str:
    if run.metadata is not None:
        return run.metadata.network
    return run.benches[0].model.network if run.benches else str((run.comparison or {}).get("network", run.path.name))


def _subtitle(run: RunFolder) -> str:
    parts: list[str] = []
    if run.metadata is not None:
        parts += [f"{name} {value}" for name, value in run.metadata.options.items()]
        parts += ["×".join(map(str, run.metadata.input_shape)), run.metadata.precision]
        parts.append(f"{len(run.metadata.blocks)} gated blocks")
        parts.append(run.metadata.checkpoint.name if run.metadata.checkpoint is not None else "random weights")
    elif run.benches:
        model = run.benches[0].model
        parts += ["×".join(map(str, model.input_shape)), model.precision]
    elif run.comparison is not None:
        parts.append(run.comparison["precision"])
    return ", ".join(parts)


def _facts(run: RunFolder) -> list[Fact]:
    """The first benchmark's first batch, the activity, and the comparison, each in one figure."""
    facts = []
    if run.benches:
        record = run.benches[0]
        batch = record.batches[0]
        facts.append(Fact(f"{batch.speedup.value:.2f}×", f"as fast as dense with its own masks, {_backend(record)}"))
        if batch.break_even:
            first = batch.break_even[0]
            value = f"{first.ratio:.0%}" if first.ratio is not None else "none"
            meaning = {
                "ratio": f"active sites at break-even, {first.pattern}",
                "always": f"break-even: faster than dense at every ratio measured, {first.pattern}",
                "never": f"break-even: slower than dense at every ratio measured, {first.pattern}",
            }[first.outcome]
            facts.append(Fact(value, meaning))
        if record.activity is not None:
            facts.append(Fact(f"{record.activity.ratio:.0%}", "active sites on the images, blocks weighted by work"))
    ran = [b for b in (run.comparison or {}).get("backends", []) if not b["not_run"]]
    if ran:
        flipped = sum(gate["statistics"]["flipped"] for backend in ran for gate in backend["gates"])
        sites = sum(gate["statistics"]["sites"] for backend in ran for gate in backend["gates"])
        facts.append(Fact(f"{flipped:,}", f"of {sites:,} gate decisions differ from {run.comparison['reference']}"))  # type: ignore[index]
    return facts


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
    if view["activity_plot"] is not None:
        plots.append(view["activity_plot"])
    for plot in plots:
        write_text(folder / f"{plot.name}.svg", for_file(plot.wide))
    shown: Gallery | None = view["gallery"]
    for picture in shown.pictures if shown is not None else ():
        for name, data in ((f"input-{picture.number}", picture.photograph), (f"heat-{picture.number}", picture.heat)):
            with replacing(folder / f"{name}.jpg") as temporary:
                temporary.write_bytes(data)


def _markdown_cell(text: str) -> str:
    """Text that cannot break out of a table's cell or be taken for markup."""
    for character in "\\|*_`<[":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
