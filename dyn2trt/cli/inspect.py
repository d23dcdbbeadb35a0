"""``dyn2trt inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    file: Annotated[Path, typer.Argument(help="ONNX file of dyn2trt export, or plan of dyn2trt build.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the file's metadata, or the plan's passport, as JSON on stdout.")
    ] = False,
) -> None:
    """Show what is dynamic in an ONNX file or an engine, positions, layers or kernels, and what each part costs.

    MACs are of one image with every position active; halo is the share of a block's that is done at every position
    its active ones read. Making kernels, from predicting their coefficients on, is counted next to the convolutions.
    """
    import json

    from rich.console import Console

    from dyn2trt.engine.passport import passport_path, read_passport
    from dyn2trt.export.metadata import load_model, parse_metadata, read_metadata
    from dyn2trt.export.model_file import data_files
    from dyn2trt.export.overview import facts_of_plan, nodes_of_blocks, plugins_of_blocks, render

    console = Console()
    if file.suffix in (".plan", ".engine") or (file.suffix != ".onnx" and passport_path(file).is_file()):
        passport = read_passport(file)
        if as_json:
            typer.echo(passport.to_json(), nl=False)
            return
        exported = json.dumps(passport.export)
        metadata = None if passport.export is None else parse_metadata(exported, str(passport_path(file)))
        console.print(render(metadata, facts_of_plan(passport, str(file)), plugins_of_blocks(passport)))
        return
    model = load_model(file, weights=False)
    metadata = read_metadata(model)
    if as_json:
        typer.echo(metadata.to_json(indent=2))
        return
    size = file.stat().st_size + sum((file.parent / name).stat().st_size for name in data_files(model))
    facts = {"file": f"{file} ({size / 2**20:.1f} MiB)", "exported by": f"dyn2trt {metadata.version}"}
    console.print(render(metadata, facts, nodes_of_blocks(model, metadata)))
