"""``dyn2trt networks``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from dyn2trt.networks.zoo import NetworkEntry


def networks(
    name: Annotated[str | None, typer.Argument(help="Show the options of this one.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """List the networks and what is dynamic in each, or the options of one (--set OPTION=VALUE).

    A network of your own goes by package.module:callable instead; its options are the callable's keywords.
    """
    import json
    from dataclasses import asdict

    from dyn2trt.networks.zoo import NETWORKS, network_entry

    entries = list(NETWORKS.values()) if name is None else [network_entry(name)]
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    from rich.console import Console

    console = Console()
    if name is None:
        console.print(_all(entries))
        console.print("Options of one: dyn2trt networks NAME. Your own network: --network package.module:callable.")
    else:
        console.print(_options(entries[0]))


def _all(entries: list[NetworkEntry]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("network", "dynamic", "input", "", box=box.SIMPLE_HEAD, pad_edge=False)
    for entry in entries:
        table.add_row(f"[bold]{entry.name}[/]", entry.dynamic, "x".join(map(str, entry.input_shape)), entry.doc)
    return table


def _options(entry: NetworkEntry) -> Table:
    from rich import box
    from rich.table import Table

    title = f"[bold]{entry.name}[/]: {entry.doc}; {entry.task}, dynamic {entry.dynamic}"
    table = Table("option", "default", "meaning", box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for option in entry.options:
        choices = f": {', '.join(map(str, option.choices))}" if option.choices else ""
        table.add_row(option.name, str(option.default), option.doc + choices)
    return table
