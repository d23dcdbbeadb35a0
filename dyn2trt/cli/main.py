"""Entry point of the ``dyn2trt`` command."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dyn2trt import __version__
from dyn2trt.errors import Dyn2trtError, Interrupted

VERBS = ("networks", "train", "export", "inspect", "build", "compare", "bench", "report", "run", "doctor")
"""In the order of the pipeline; each is a function of the same name in its own module."""

DEBUG = "--debug"


class _Commands(TyperGroup):
    """Takes ``--debug`` anywhere on the command line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        kept = [argument for argument in args if argument != DEBUG]
        return super().parse_args(ctx, [DEBUG, *kept] if len(kept) < len(args) else kept)


app = typer.Typer(
    name="dyn2trt",
    cls=_Commands,
    help="Compile gated and dynamic-kernel CNNs to TensorRT engines that skip idle work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dyn2trt {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show where a mistake was found: its traceback, before its message.")
    ] = False,
) -> None:
    pass


for _verb in VERBS:
    app.command(_verb)(getattr(importlib.import_module(f"dyn2trt.cli.{_verb}"), _verb))


def main() -> None:
    """Run the command line; a user's mistake is one message and an exit code, a bug is a traceback."""
    try:
        app()
    except Dyn2trtError as error:
        if DEBUG in sys.argv:
            traceback.print_exc()
        sys.stderr.write(f"dyn2trt: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # Outside of a verb; within one typer does the same.
        sys.exit(Interrupted.exit_code)
