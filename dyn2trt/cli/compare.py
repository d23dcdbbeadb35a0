"""``dyn2trt compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    model: Annotated[Path, typer.Argument(help="ONNX file that dyn2trt export wrote.", show_default=False)],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe that names checkpoint, images, normalisation and tolerances.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Where the model's weights came from, for the torch reference.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Engine that dyn2trt build made of the model.")] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help="What to compare, the reference first. Those named here must run; by default torch, onnxruntime and "
            "tensorrt as far as they can.",
            metavar="torch,onnxruntime,tensorrt",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(help="An image, a folder of images, a .npy, a .npz holding x, noise or noise:N. Default: noise."),
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Batch and size to run a dynamic model at, like 1x3x256x256.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Normalisation: R,G,B of rgb/255, subtracted. Default: 0,0,0.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Normalisation: R,G,B of rgb/255, divided by. Default: 1,1,1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of noise. Default: 0.", min=0)] = None,
    tolerances: Annotated[
        list[str] | None,
        typer.Option(
            "--tolerance",
            help="Allowed norm of the difference over norm of the reference: 1e-4 for all outputs, out0:1e-4 for one. "
            "By default 1e-5 for fp32; for fp16 and bf16 twice what torch loses at that precision.",
            show_default=False,
        ),
    ] = None,
    atol: Annotated[
        list[str] | None, typer.Option(help="Polygraphy's elementwise check in addition, like out0:1e-4.")
    ] = None,
    rtol: Annotated[list[str] | None, typer.Option(help="As --atol, relative to each element.")] = None,
    bisect: Annotated[
        bool | None, typer.Option("--bisect", help="Find the first gated block, or dynamic convolution, that diverges.")
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="Execution provider of ONNX Runtime: cpu, cuda, or a full name.", show_default="cpu"),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for inputs and outputs that polygraphy run can load.", metavar="DIR")
    ] = None,
    save_activity: Annotated[
        Path | None, typer.Option(help="File (.npz) for what the reference decided and the images.", metavar="FILE")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File for the result as JSON.")] = None,
    all_gates: Annotated[bool, typer.Option("--all-gates", help="Show every gate, not only the worst.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Compare what the backends compute with the network in torch, gate decisions first and apart.

    Exit code 1 when decisions or outputs differ more than is allowed, or nothing ran next to the reference.
    """
    given = locals()
    from rich.console import Console

    from dyn2trt.cli.streams import prints_to_stderr
    from dyn2trt.compare.comparison import compare_model
    from dyn2trt.compare.options import CompareOptions, compare_options
    from dyn2trt.compare.saved import save_activity as write_activity
    from dyn2trt.compare.saved import save_runs
    from dyn2trt.compare.table import ROWS, render
    from dyn2trt.files import write_text
    from dyn2trt.recipe.options import typed

    options = compare_options(**typed(CompareOptions, given), recipe=recipe)
    with Console(stderr=True).status("comparing") as status, prints_to_stderr():
        comparison, evidence = compare_model(options, lambda running: status.update(f"running {running}"))
    if save is not None:
        save_runs(evidence, save)
    if save_activity is not None:
        write_activity(evidence, save_activity, mean=options.mean, std=options.std)
    if output is not None:
        write_text(output, comparison.to_json() + "\n")
    if as_json:
        typer.echo(comparison.to_json())
    else:
        Console().print(render(comparison, None if all_gates else ROWS))
    if not comparison.passed:
        raise typer.Exit(1)
