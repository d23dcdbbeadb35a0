"""``dyn2trt report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a run: bench.json, compare.json, activity.npz, model.onnx.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="HTML page to write; the Markdown goes next to it.",
            show_default="report.html in the folder",
        ),
    ] = None,
    heat: Annotated[
        str, typer.Option(help="What the heat maps sum at each position: active blocks, or their macs.")
    ] = "blocks",
    pictures: Annotated[int, typer.Option(min=0, help="Show at most so many images.")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths as one JSON document.")] = False,
) -> None:
    """Write what a run found as Markdown and as one HTML page that needs no other file.

    Parts that the folder lacks are named in the report.
    """
    import json

    from dyn2trt.errors import Dyn2trtError
    from dyn2trt.report.write import write_report

    if heat not in ("blocks", "macs"):
        raise Dyn2trtError(f"--heat is blocks or macs, not {heat}")
    target = output or folder / "report.html"
    if target.suffix.lower() not in (".html", ".htm"):
        raise Dyn2trtError(f"--output names the HTML page, such as report.html, not {target}")
    html, markdown = write_report(folder, target, weight="macs" if heat == "macs" else "blocks", pictures=pictures)
    if as_json:
        typer.echo(json.dumps({"html": str(html), "markdown": str(markdown)}))
    else:
        typer.echo(html)
        typer.echo(markdown)
