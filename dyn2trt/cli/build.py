"""``dyn2trt build``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def build(
    model: Annotated[Path, typer.Argument(help="ONNX file, as dyn2trt export writes it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Plan to write; its passport goes next to it.")],
    min_shapes: Annotated[str, typer.Option(help="Smallest shapes to serve, like x:1x3x256x256.")] = "",
    opt_shapes: Annotated[str, typer.Option(help="Shapes to tune for.")] = "",
    max_shapes: Annotated[str, typer.Option(help="Largest shapes to serve.")] = "",
    workspace: Annotated[str, typer.Option(help="Scratch memory that a layer may use, like 2G.")] = "",
    optimization_level: Annotated[
        int | None, typer.Option(min=0, max=5, help="0 builds quickly, 5 searches longest; TensorRT's default is 3.")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File of kernel timings, read and extended; builds may share it.")
    ] = None,
    plugin_library: Annotated[
        Path | None,
        typer.Option("--plugins", help="Plugin library; else DYN2TRT_PLUGIN_LIBRARY, the package's, or build/."),
    ] = None,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Let fp32 convolutions round to TensorFloat-32; gates may then flip.")
    ] = False,
    allow_dense_fallback: Annotated[
        bool, typer.Option("--allow-dense-fallback", help="Build although gated blocks do not run as plugins.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the passport on stdout.")] = False,
) -> None:
    """Build a TensorRT plan from an ONNX file, and check that its gated blocks run as plugins.

    A model with static shapes needs no shapes. Of a dynamic one, those that are left out follow the others.
    """
    given = locals()
    from dataclasses import fields

    from dyn2trt.engine import BuildOptions, build_engine
    from dyn2trt.engine.dense_check import describe_blocks
    from dyn2trt.engine.passport import passport_path
    from dyn2trt.engine.progress import RichProgress

    options = BuildOptions.parse(**{field.name: given[field.name] for field in fields(BuildOptions)})
    with RichProgress() as progress:
        passport = build_engine(model, output, options, progress=progress)
    if as_json:
        typer.echo(passport.to_json(), nl=False)
        return
    blocks = describe_blocks(passport.gated_blocks, passport.export)
    typer.echo(
        f"{output}: {passport.plan_bytes / 2**20:.1f} MiB, {passport.precision or 'precision as in the model'}, "
        f"{passport.layers.total} layers, {blocks}, built in {passport.seconds:.1f} s with {passport.module} "
        f"{passport.tensorrt}; passport in {passport_path(output)}"
    )
