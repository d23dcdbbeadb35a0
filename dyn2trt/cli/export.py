"""``dyn2trt export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dyn2trt.recipe import ExportSection, NetworkSection


def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="ONNX file to write.", show_default=False)],
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe; the options below override it.", show_default=False)
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="Instead of a recipe: a network of the zoo (dyn2trt networks), or package.module:callable."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the network, NAME=VALUE; may be repeated.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Trained weights; without them they are random.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of random weights.", min=0, show_default="0")] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="NxCxHxW, like 1x3x256x256.", show_default="the network's own")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16 or bf16; gates stay fp32.", metavar="NAME", show_default="fp32")
    ] = None,
    ops: Annotated[
        str | None,
        typer.Option(
            help="composite: a node per gated block; primitive: blocks written out in gather, convolution and scatter; "
            "dense: the ungated network in standard ops.",
            metavar="NAME",
            show_default="composite",
        ),
    ] = None,
    dynamic_batch: Annotated[
        bool | None, typer.Option("--dynamic-batch/--static-batch", help="Any batch size.", show_default=False)
    ] = None,
    dynamic_size: Annotated[
        bool | None, typer.Option("--dynamic-size/--static-size", help="Any height and width.", show_default=False)
    ] = None,
    with_decisions: Annotated[
        bool | None,
        typer.Option(
            "--with-decisions/--without-decisions",
            help="Each gate's mask, and the coefficients of dynamic kernels, as outputs: an engine then shows them.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(
            "--for",
            help="any: every runtime; trtexec: TensorRT with the plugin library, without the bodies that its parser "
            "before 10.7 prefers to plugins. ONNX Runtime cannot run that file.",
            metavar="any|trtexec",
        ),
    ] = "any",
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Before the file appears, compare it in ONNX Runtime with the network in torch, on noise.",
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the file's metadata as JSON on stdout.")] = False,
) -> None:
    """Write a gated or dynamic network as one ONNX file, which runs sparse in ONNX Runtime and TensorRT.

    BatchNorm is folded; the input is x, the outputs are out0, out1, ... or called by their keys; the same command gives
    the same bytes. Weights of 2 GiB and more lie in a file beside it.
    """
    given = locals()
    from rich.console import Console

    from dyn2trt.cli.streams import prints_to_stderr
    from dyn2trt.errors import Dyn2trtError
    from dyn2trt.files import can_be_read_back

    if runtime not in ("any", "trtexec"):
        raise Dyn2trtError(f"--for is any or trtexec, not {runtime!r}")
    if runtime == "trtexec" and not can_be_read_back(output):
        raise Dyn2trtError(f"--for trtexec writes a regular file, and {output} is none; choose another path")

    console = Console(stderr=True)
    source, wanted = _sections(recipe, {**given, "name": network, "options": _options(settings or [])})
    with console.status("exporting"), prints_to_stderr():
        from dyn2trt.export.recipe_export import export_recipe
        from dyn2trt.export.surgery.bodiless import strip_bodies
        from dyn2trt.pipeline.checked_export import checked_export

        write = checked_export if check else export_recipe
        metadata = write(source, wanted, output, warn=lambda text: typer.echo(f"dyn2trt: warning: {text}", err=True))
        if runtime == "trtexec":  # After the check, which runs the bodies.
            strip_bodies(output)
    if as_json:
        typer.echo(metadata.to_json(indent=2))
        return
    from dyn2trt.export.overview import render

    Console().print(render(metadata, {"written": f"{output} ({output.stat().st_size / 2**20:.1f} MiB)"}))


def _sections(recipe: Path | None, given: dict[str, Any]) -> tuple[NetworkSection, ExportSection]:
    """The recipe's sections with what the command line gives put over them."""
    from dyn2trt.errors import Dyn2trtError
    from dyn2trt.networks.zoo import NETWORKS, build_network
    from dyn2trt.recipe import ExportSection, NetworkSection, load_recipe
    from dyn2trt.recipe.options import merged, typed

    network, export = typed(NetworkSection, given), typed(ExportSection, given)
    if recipe is not None:
        if "name" in network:
            raise Dyn2trtError("give a recipe or --network, not both; a recipe's other values can be overridden")
        base = load_recipe(recipe)
        network["options"] = {**base.network.options, **network["options"]}
        return (
            merged(NetworkSection, base.network, network, section="network"),
            merged(ExportSection, base.export, export, section="export"),
        )
    if "name" not in network:
        raise Dyn2trtError("say what to export: a recipe, or --network NAME (dyn2trt networks lists them)")
    entry = NETWORKS.get(network["name"])
    if entry is None and ":" not in network["name"]:
        build_network(network["name"])  # Raises, and names the nearest.
    if entry is None and "input_shape" not in export:
        raise Dyn2trtError("a network of your own has no default input; give --input-shape NxCxHxW")
    default = {} if entry is None else {"input_shape": entry.input_shape}
    return (
        merged(NetworkSection, network, section="network"),
        merged(ExportSection, default, export, section="export"),
    )


def _options(settings: list[str]) -> dict[str, str]:
    from dyn2trt.errors import Dyn2trtError

    options = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name or not value:
            raise Dyn2trtError(f"--set wants NAME=VALUE, such as --set depth=20, not {setting!r}")
        options[name] = value
    return options
