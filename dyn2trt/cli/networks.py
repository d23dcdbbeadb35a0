"""``dyn2trt networks``."""

from __future__ import annotations

from typing import Annotated

import typer


def networks(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """List the networks and their options (--set NAME=VALUE).

    A network of your own goes by package.module:callable instead; its options are the callable's keywords.
    """
    import json
    from dataclasses import asdict
    from itertools import zip_longest

    from dyn2trt.networks.zoo import NETWORKS

    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in NETWORKS.values()], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("network", "option", "default", "meaning")
    for entry in NETWORKS.values():
        about = (f"[bold]{entry.name}[/]", entry.task, "x".join(map(str, entry.input_shape)))
        for left, option in zip_longest(about, entry.options):
            choices = f": {', '.join(map(str, option.choices))}" if option and option.choices else ""
            right = (option.name, str(option.default), option.doc + choices) if option else ()
            table.add_row(left, *right)
        table.add_section()
    console = Console()
    console.print(table)
    console.print("Your own network: --network package.module:callable, its options are the callable's keywords.")
