"""Plans for the graphs of a benchmark that the user brought none for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from dyn2trt.bench.measure import served_batches
from dyn2trt.bench.options import BenchOptions
from dyn2trt.bench.sessions import FORCED, graphs_of
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import load_model, read_metadata
from dyn2trt.export.model_file import save_model

if TYPE_CHECKING:
    from dyn2trt.engine import BuildOptions
    from dyn2trt.engine.profiles import Shape


def input_shapes(model: onnx.ModelProto, batch: int, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of all inputs of one of a benchmark's graphs for a batch of images of ``size`` (H, W).

    Raises:
        Dyn2trtError: an input has a dynamic height or width, and so a grid that only the network knows.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for value in model.graph.input:
        dims = [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]
        if value.name == "x":
            shapes[value.name] = (batch, dims[1] or 3, *size)
        elif None in dims[1:]:
            raise Dyn2trtError(
                f"the grid of {value.name} is not fixed in a model of dynamic size; pass --forced-plan, or export "
                "without --dynamic-size"
            )
        else:
            shapes[value.name] = (batch, *(int(d) for d in dims[1:] if d is not None))
    return shapes


def _profile(build: BuildOptions) -> list[Shape]:
    """The least, best and largest shape of x, where they are given."""
    return [shapes["x"] for shapes in (build.min_shapes, build.opt_shapes, build.max_shapes) if "x" in shapes]


def with_plans(
    options: BenchOptions,
    path: Path,
    given: Mapping[str, Path | None],
    folder: Path,
    size: tuple[int, int],
    progress: Callable[[str], None],
    build: BuildOptions | None = None,
) -> BenchOptions:
    """Return the options with a plan for every role, those that ``given`` lacks built as ``folder/<role>.plan``.

    All are built in the same way: otherwise the comparison is not fair.

    Args:
        path: of the exported model.
        folder: keeps the ONNX files that were built too.
        size: (H, W) of the images.
        build: how the user builds the model; its shapes of x hold for every plan. Without any, and for a model of
            dynamic shapes, plans are tuned for the largest batch measured.

    Raises:
        Dyn2trtError: a build failed; MissingDependency when TensorRT, pycuda or a GPU is missing.
    """
    from dyn2trt.engine import BuildOptions, build_engine
    from dyn2trt.runtimes.tensorrt_session import import_pycuda

    build = build or BuildOptions()
    import_pycuda()
    model = load_model(path)
    metadata = read_metadata(model)
    batches = served_batches(metadata, options)[0]
    plans = {role: plan for role, plan in given.items() if plan is not None}
    for role, graph in graphs_of(model).items():
        if role in plans or (role == FORCED and not options.active_ratios):
            continue
        progress(f"building the {role} plan")
        folder.mkdir(parents=True, exist_ok=True)
        onnx_path, plans[role] = folder / f"{role}.onnx", folder / f"{role}.plan"
        save_model(graph, onnx_path)
        if metadata.dynamic_axes:
            profile = _profile(build) or [(batch, 3, *size) for batch in (min(batches), max(batches), max(batches))]
            low, best, high = (input_shapes(graph, n, (h, w)) for n, _, h, w in profile)
            build = replace(build, min_shapes=low, opt_shapes=best, max_shapes=high)
        build_engine(onnx_path, plans[role], build)
    return options.model_copy(update={"plans": plans})
