"""``dyn2trt doctor``."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Say what is installed, what loads, what is missing, and what to do about it.

    Exit code 3 when not even the CPU pipeline (export, compare and bench in ONNX Runtime) can run.
    """
    import dataclasses
    import json

    from dyn2trt.pipeline.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        colours = {"ok": "green", "missing": "yellow", "broken": "red"}
        table = Table("what", "state", "detail", "what to do")
        for finding in findings:
            state = f"[{colours[finding.state]}]{finding.state}[/]"
            table.add_row(finding.what, state, escape(finding.detail), escape(finding.mend))
        Console().print(table)
    if any(finding.required and finding.state != "ok" for finding in findings):
        raise typer.Exit(3)
