"""An exported file, or an engine made of one, as tables of its gated blocks and of its predictors of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dyn2trt.export.dimensions import BATCH, HEIGHT, WIDTH
from dyn2trt.export.dynamic import describe_dynamic
from dyn2trt.export.metadata import INPUT, ExportMetadata

if TYPE_CHECKING:
    import onnx

    from dyn2trt.engine.passport import Passport


def nodes_of_blocks(model: onnx.ModelProto, metadata: ExportMetadata) -> dict[str, str]:
    """Say what stands for each gated block in the graph, by the block's name."""
    from dyn2trt.engine.dense_check import gated_nodes

    bodies = {function.name for function in model.functions}
    says = {}
    for block, nodes in gated_nodes(model, metadata).items():
        count = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}"
        bodiless = sorted({node.op_type for node in nodes} - bodies)
        says[block] = "missing" if not nodes else f"{count}, no body" if bodiless else count
    return says


def plugins_of_blocks(passport: Passport) -> dict[str, str]:
    """Say how an engine runs each gated block, by the block's name."""
    blocks = passport.gated_blocks
    return {name: "plugin" if name in blocks.as_plugins else "dense" for name in blocks.expected}


def facts_of_plan(passport: Passport, name: str) -> dict[str, str]:
    """What a plan's passport says of it as a whole."""
    from dyn2trt.engine.profiles import format_shape

    profiles = [
        f"{tensor} {format_shape(p.min)} to {format_shape(p.max)}, tuned for {format_shape(p.opt)}"
        for tensor, p in passport.profiles.items()
    ]
    return {
        "plan": f"{name} ({passport.plan_bytes / 2**20:.1f} MiB)",
        "built by": f"dyn2trt {passport.dyn2trt}, {passport.module} {passport.tensorrt}",
        "for": str(passport.gpu or "no GPU"),
        "plugin library": str(passport.plugin or "none"),
        "layers": f"{passport.layers.total} parsed, {passport.layers.plugin} of them plugins",
        "serves": "; ".join(profiles),
    }


def render(metadata: ExportMetadata | None, facts: Mapping[str, str], blocks: Mapping[str, str] | None = None) -> Group:
    """Return what rich prints: ``facts`` and the metadata's own, a row a gated block given ``blocks``, and a predictor.

    Args:
        metadata: None for an engine of a model that dyn2trt did not export.
        facts: lines to begin with, such as the file's name.
        blocks: what each block is in the file, by its name.
    """
    head = Table.grid(padding=(0, 2))
    for name, value in {**facts, **(_facts(metadata) if metadata is not None else {})}.items():
        head.add_row(Text(name, style="bold"), Text(value))
    tables = []
    if metadata is not None and blocks:
        tables.append(_table_of_blocks(metadata, blocks))
    if metadata is not None and metadata.kernels:
        tables.append(_table_of_predictors(metadata))
    return Group(head, *(part for table in tables for part in (Text(), table)))


_Columns = dict[str, Literal["left", "right"]]

_BLOCK_COLUMNS: _Columns = {
    "#": "right",
    "block": "left",
    "op": "left",
    "grid": "right",
    "MACs": "right",
    "share": "right",
    "halo": "right",
    "as": "left",
}

_PREDICTOR_COLUMNS: _Columns = {
    "#": "right",
    "predictor": "left",
    "values": "right",
    "convs": "right",
    "MACs": "right",
    "making": "right",
    "as": "left",
}


def _facts(metadata: ExportMetadata) -> dict[str, str]:
    options = " ".join(f"{name}={value}" for name, value in metadata.options.items())
    if metadata.checkpoint is not None:
        weights = f"{metadata.checkpoint.name} (sha256 {metadata.checkpoint.sha256[:12]})"
    else:
        weights = f"random, seed {metadata.seed}" if metadata.seed is not None else "not recorded"
    kept = ["gates fp32"] * bool(metadata.blocks) + ["coefficients fp32"] * bool(metadata.kernels)
    macs = metadata.macs_gated + metadata.macs_ungated
    shares = [f"{metadata.macs_gated / (macs or 1):.1%} in {len(metadata.blocks)} gated blocks"]
    if metadata.kernels or metadata.image_kernels:
        making = [f"{metadata.macs_generation / (macs or 1):.1%} in making kernels"] if metadata.kernels else []
        shares = shares * bool(metadata.blocks) + making
    share = f", of them {' and '.join(shares)}" if shares else ""
    outputs = (metadata.outputs, metadata.masks, metadata.coefficients)
    return {
        "network": f"{metadata.network} {options}".rstrip(),
        "weights": weights,
        "precision": ", ".join([metadata.precision, *kept]),
        "ops": metadata.ops,
        "input": f"{INPUT} float32 [{', '.join(_dimensions(metadata))}]",
        "outputs": ", ".join(name for names in outputs for name in _shortened(names)),
        "dynamic": describe_dynamic(metadata),
        **({"kernels of own code": _image_kernels(metadata)} if metadata.image_kernels else {}),
        "MACs per image": f"{_giga(macs)}{share}",
    }


def _image_kernels(metadata: ExportMetadata) -> str:
    by_form: dict[str, list[str]] = {}
    for kernels in metadata.image_kernels:
        by_form.setdefault(kernels.form, []).append(kernels.name)
    return "; ".join(f"{', '.join(_shortened(tuple(names)))} as {form}" for form, names in by_form.items())


def _shortened(names: tuple[str, ...]) -> tuple[str, ...]:
    return names if len(names) <= 4 else (names[0], "...", names[-1])


def _dimensions(metadata: ExportMetadata) -> list[str]:
    texts = []
    for axis, size in enumerate(metadata.input_shape):
        name = {0: BATCH, 2: HEIGHT, 3: WIDTH}.get(axis, "")
        multiple = f"{metadata.size_multiple}*" if axis > 0 and metadata.size_multiple > 1 else ""
        texts.append(f"{multiple}{name}" if axis in metadata.dynamic_axes else str(size))
    return texts


def _empty_table(columns: _Columns) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for name, justify in columns.items():
        table.add_column(name, justify=justify, no_wrap=name in ("block", "predictor"))
    return table


def _table_of_predictors(metadata: ExportMetadata) -> Table:
    table = _empty_table(_PREDICTOR_COLUMNS)
    for index, predictor in enumerate(metadata.kernels):
        forms = dict.fromkeys(convolution.form.replace("_", " ") for convolution in predictor.convolutions)
        table.add_row(
            str(index),
            predictor.name,
            str(predictor.size),
            str(len(predictor.convolutions)),
            _giga(predictor.macs_convolutions),
            _giga(predictor.macs_generation),
            ", ".join(forms),
        )
    return table


def _table_of_blocks(metadata: ExportMetadata, blocks: Mapping[str, str]) -> Table:
    table = _empty_table(_BLOCK_COLUMNS)
    known = {block.name: (index, block) for index, block in enumerate(metadata.blocks)}
    for name, says in blocks.items():
        style = "red" if says in ("missing", "dense") or says.endswith("no body") else ""
        if name not in known:
            table.add_row("", name, *[""] * 5, Text(says, style=style))
            continue
        index, block = known[name]
        height, width = block.halo_grid or block.grid
        table.add_row(
            str(index),
            block.name,
            block.op.removeprefix("Gated"),
            "x".join(map(str, block.grid)),
            _giga(block.macs_total),
            f"{block.macs_total / metadata.macs_gated:.1%}",
            f"{height * width * block.macs_per_halo_site / block.macs_total:.0%}",
            Text(says, style=style),
        )
    return table


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.3f} G" if macs >= 10**8 else f"{macs / 1e6:.3f} M"
