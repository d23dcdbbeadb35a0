"""``dyn2trt bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    model: Annotated[Path, typer.Argument(help="ONNX file, as dyn2trt export writes it.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write the record; bench.json beside the model.")
    ] = None,
    backend: Annotated[str, typer.Option(help="onnxruntime (CPU) or tensorrt (GPU, through pycuda).")] = "onnxruntime",
    images: Annotated[
        str, typer.Option(help="Images for the model's own activity: a file, a folder, a .npz with x, or noise[:N].")
    ] = "noise:4",
    mean: Annotated[str, typer.Option(help="Normalisation of images: mean of r,g,b on a scale of 0 to 1.")] = "0,0,0",
    std: Annotated[str, typer.Option(help="Normalisation of images: standard deviation of r,g,b.")] = "1,1,1",
    size: Annotated[str, typer.Option(help="Height x width of the input, for a model of dynamic size.")] = "",
    batch_sizes: Annotated[str, typer.Option(help="Like 1,4,16; the exported batch when left out.")] = "",
    ratios: Annotated[str, typer.Option(help="Active ratios of the sweep, like 0.1,0.5,1; 'none' for no sweep.")] = "",
    patterns: Annotated[str, typer.Option(help="Mask patterns of the sweep.")] = "blobs,independent",
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before the measured ones.")] = 3,
    min_rounds: Annotated[int, typer.Option(min=1, help="Measured rounds at least.")] = 20,
    max_rounds: Annotated[int, typer.Option(min=1, help="Measured rounds at most.")] = 1000,
    seconds: Annotated[float, typer.Option(min=0, help="Measure this long for each batch size.")] = 20.0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Intra-op threads of ONNX Runtime; every usable core when left out.")
    ] = None,
    per_block: Annotated[bool, typer.Option("--per-block", help="Time every gated block alone too.")] = False,
    seed: Annotated[int, typer.Option(help="Of masks, of noise, and of the order within rounds.")] = 0,
    plan: Annotated[Path | None, typer.Option(help="TensorRT plan of the model; built when left out.")] = None,
    dense_plan: Annotated[Path | None, typer.Option(help="Plan of the dense twin; built when left out.")] = None,
    forced_plan: Annotated[
        Path | None, typer.Option(help="Plan of the model with overruled gates, for the sweep; built when left out.")
    ] = None,
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs/--no-cuda-graphs", help="Replay a CUDA graph a run (TensorRT).")
    ] = True,
    transfers: Annotated[
        bool, typer.Option("--transfers", help="Let times include host-device copies (TensorRT).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record on stdout.")] = False,
) -> None:
    """Measure a gated network against its own dense twin, in one interleaved run.

    Latency (median, p90, p99, spread), throughput, memory; a sweep of forced active ratios; the break-even ratio; and
    whether sparse is worth it at the model's own activity. The record holds all of it with the environment.
    """
    from rich.console import Console

    from dyn2trt.bench.backends import DENSE, FORCED, SPARSE
    from dyn2trt.bench.interleave import Budget
    from dyn2trt.bench.measure import RATIOS, BenchOptions, graphs_of, measure, served_batches
    from dyn2trt.bench.plans import build_missing
    from dyn2trt.bench.summary import print_summary
    from dyn2trt.errors import Dyn2trtError
    from dyn2trt.export.metadata import load_model, read_metadata
    from dyn2trt.files import write_text
    from dyn2trt.images import load_inputs

    if backend not in ("onnxruntime", "tensorrt"):
        raise Dyn2trtError(f"--backend is onnxruntime or tensorrt, not {backend}")
    if max_rounds < min_rounds:
        raise Dyn2trtError(f"--max-rounds {max_rounds} is below --min-rounds {min_rounds}")
    metadata = read_metadata(model)
    height, width = _size(size, metadata.input_shape[2:], metadata.dynamic_axes, metadata.size_multiple)
    r, g, b = _floats("--mean", mean, 3)
    sr, sg, sb = _floats("--std", std, 3)
    x = load_inputs(images, (None, 3, height, width), mean=(r, g, b), std=(sr, sg, sb), seed=seed)
    plans = {role: path for role, path in ((SPARSE, plan), (DENSE, dense_plan), (FORCED, forced_plan)) if path}
    output = output or model.with_name("bench.json")
    console = Console(stderr=True)
    with console.status("starting") as status:
        options = BenchOptions(
            backend="tensorrt" if backend == "tensorrt" else "onnxruntime",
            batch_sizes=tuple(int(n) for n in _floats("--batch-sizes", batch_sizes)),
            ratios=() if ratios == "none" else _floats("--ratios", ratios) or RATIOS,
            patterns=tuple(name.strip() for name in patterns.split(",") if name.strip()),
            budget=Budget(warmup, min_rounds, max_rounds, seconds),
            threads=threads,
            seed=seed,
            per_block=per_block,
            cuda_graphs=cuda_graphs,
            transfers=transfers,
        )
        if backend == "tensorrt":
            from dataclasses import replace

            from dyn2trt.bench.tensorrt_session import import_pycuda

            import_pycuda()
            graphs = graphs_of(load_model(model))
            if not options.ratios:
                graphs.pop(FORCED)
            served = served_batches(metadata, options)[0]
            folder = output.with_name(f"{output.stem}-plans")
            built = build_missing(graphs, plans, folder, served, (height, width), metadata, status.update)
            options = replace(options, plans=tuple(built.items()))
        record = measure(model, x, options, images_spec=images, progress=status.update)
    write_text(output, record.to_json() + "\n")
    if as_json:
        typer.echo(record.to_json())
    else:
        print_summary(record, Console())
    console.print(f"record: {output}", highlight=False, soft_wrap=True)


def _floats(option: str, text: str, count: int | None = None) -> tuple[float, ...]:
    from dyn2trt.errors import Dyn2trtError

    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise Dyn2trtError(f"{option} takes numbers separated by commas, not '{text}'") from error
    if count is not None and len(values) != count:
        raise Dyn2trtError(f"{option} takes {count} numbers separated by commas, not '{text}'")
    return values


def _size(text: str, exported: tuple[int, ...], dynamic_axes: tuple[int, ...], multiple: int) -> tuple[int, int]:
    """Height and width to run at."""
    from dyn2trt.errors import Dyn2trtError

    if not text:
        return exported[0], exported[1]
    height, x, width = text.partition("x")
    if not (x and height.isdecimal() and width.isdecimal()):
        raise Dyn2trtError(f"--size is written HxW, like 256x192, not '{text}'")
    wanted = int(height), int(width)
    if wanted != exported and 2 not in dynamic_axes:
        raise Dyn2trtError(
            f"the model has a fixed size of {exported[0]}x{exported[1]}, not {text}; export it with --dynamic-size"
        )
    if any(n < 1 or n % multiple for n in wanted):
        raise Dyn2trtError(f"height and width are multiples of {multiple} for this network, not {text}")
    return wanted
