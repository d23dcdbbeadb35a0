"""``dyn2trt bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    model: Annotated[Path, typer.Argument(help="ONNX file that dyn2trt export wrote.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", show_default="bench.json next to the model", help="File for the record."),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe that names images, normalisation and settings.")] = None,
    backend: Annotated[str, typer.Option(help="onnxruntime (CPU) or tensorrt (GPU, through pycuda).")] = "onnxruntime",
    images: Annotated[
        str | None,
        typer.Option(
            help="Images for the model's own activity: a file, a folder, a .npy, a .npz holding x, noise or noise:N.",
            show_default="noise:4",
        ),
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Size to run a model of dynamic size at, like 1x3x256x256.")
    ] = None,
    mean: Annotated[str | None, typer.Option(show_default="0,0,0", help="Normalisation: R,G,B of rgb/255.")] = None,
    std: Annotated[str | None, typer.Option(show_default="1,1,1", help="Normalisation: R,G,B of rgb/255.")] = None,
    seed: Annotated[
        int | None, typer.Option(show_default="0", help="Of noise, of masks and of the order within rounds.", min=0)
    ] = None,
    batch_sizes: Annotated[str | None, typer.Option(show_default="the exported batch", help="Like 1,4,16.")] = None,
    active_ratios: Annotated[
        str | None,
        typer.Option(help="Ratios of the sweep, like 0.1,0.5,1; none for no sweep.", show_default="7 from 0.0625 to 1"),
    ] = None,
    patterns: Annotated[
        str | None, typer.Option(show_default="blobs,independent", help="Mask patterns of the sweep.")
    ] = None,
    warmup: Annotated[
        int | None, typer.Option(min=0, show_default="3", help="Rounds before the measured ones.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, show_default="20", help="Least number of rounds, from 6.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, show_default="20", help="Go on measuring a batch size for this long.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, show_default="every usable core", help="Intra-op threads of ONNX Runtime.")
    ] = None,
    per_block: Annotated[bool | None, typer.Option("--per-block", help="Time every gated block alone too.")] = None,
    plan: Annotated[Path | None, typer.Option(help="TensorRT plan of the model; built when left out.")] = None,
    dense_plan: Annotated[Path | None, typer.Option(help="Plan of its dense counterpart; built when left out.")] = None,
    forced_plan: Annotated[
        Path | None, typer.Option(help="Plan of the model with forced masks, for the sweep; built when left out.")
    ] = None,
    static_plan: Annotated[
        Path | None, typer.Option(help="Plan of its counterpart with fixed kernels; built when left out.")
    ] = None,
    cuda_graphs: Annotated[
        bool | None,
        typer.Option(
            "--cuda-graphs/--no-cuda-graphs", show_default="cuda-graphs", help="Replay a CUDA graph per run (TensorRT)."
        ),
    ] = None,
    transfers: Annotated[
        bool | None, typer.Option("--transfers", help="Let times include host-device copies (TensorRT).")
    ] = None,
    save_activity: Annotated[
        Path | None, typer.Option(help="File (.npz) for what was decided and the images, for a report.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Measure a dynamic network against its static counterpart, in one interleaved run.

    Latency (median, p90, p99, spread), throughput and memory. A gated network runs against itself without gates: a
    sweep of forced active ratios, the break-even ratio, and whether skipping pays at the model's own activity. One
    with dynamic kernels runs against itself with fixed kernels: what generating them costs. The record holds all of
    it with the environment.
    """
    given = locals()
    from rich.console import Console

    from dyn2trt.activity.archive import write_activity
    from dyn2trt.bench.measure import measure
    from dyn2trt.bench.options import image_size, inputs_of, options_of
    from dyn2trt.bench.plans import with_plans
    from dyn2trt.bench.summary import print_summary
    from dyn2trt.cli.streams import prints_to_stderr
    from dyn2trt.engine import BuildOptions
    from dyn2trt.export.metadata import read_metadata
    from dyn2trt.files import check_writable, write_text
    from dyn2trt.images import load_inputs, to_pictures
    from dyn2trt.recipe import BenchSection, DataSection, load_recipe
    from dyn2trt.recipe.options import typed

    wanted = None if recipe is None else load_recipe(recipe)
    source = inputs_of(wanted, **typed(DataSection, given))
    options = options_of(wanted, backend=backend, seed=source.seed, **typed(BenchSection, given))
    metadata = read_metadata(model)
    size = image_size(input_shape, metadata)
    shape = (None, metadata.input_shape[1], *size)
    x = load_inputs(source.images, shape, mean=source.mean, std=source.std, seed=source.seed)
    output = output or model.with_name("bench.json")
    check_writable(output)
    if save_activity is not None:
        check_writable(save_activity)
    console = Console(stderr=True)
    with console.status("starting") as status, prints_to_stderr():
        if backend == "tensorrt":
            plans = {"own": plan, "dense": dense_plan, "forced": forced_plan, "static": static_plan}
            folder = output.with_name(f"{output.stem}-plans")
            build = None if wanted is None else BuildOptions.parse(**wanted.build.model_dump())
            options = with_plans(options, model, plans, folder, size, status.update, build)
        measured = measure(model, x, options, images_spec=source.images, progress=status.update)
    write_text(output, measured.record.to_json() + "\n")
    if save_activity is not None and (measured.masks or measured.coefficients):
        pictures = to_pictures(x, mean=source.mean, std=source.std)
        write_activity(save_activity, pictures, measured.masks, measured.coefficients)
    if as_json:
        typer.echo(measured.record.to_json())
    else:
        print_summary(measured.record, Console())
    console.print(f"record: {output}", highlight=False, soft_wrap=True)
