"""Plans for the graphs of a benchmark that the user brought none for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import onnx

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata


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


def build_missing(
    graphs: Mapping[str, onnx.ModelProto],
    given: Mapping[str, Path],
    folder: Path,
    batches: Iterable[int],
    size: tuple[int, int],
    metadata: ExportMetadata,
    progress: Callable[[str], None],
) -> dict[str, Path]:
    """Return a plan for every role, building those that ``given`` lacks as ``folder/<role>.plan``.

    Args:
        batches: the batch sizes that the plans shall serve; tuned for the largest.

    Raises:
        Dyn2trtError: a build failed; MissingDependency when TensorRT is not installed.
    """
    from dyn2trt.build import BuildOptions, build_engine

    plans = dict(given)
    for role, model in graphs.items():
        if role in plans:
            continue
        progress(f"building the {role} plan")
        folder.mkdir(parents=True, exist_ok=True)
        onnx_path, plans[role] = folder / f"{role}.onnx", folder / f"{role}.plan"
        onnx.save(model, onnx_path)
        options = BuildOptions()
        if metadata.dynamic_axes:
            low, high = (input_shapes(model, batch, size) for batch in (min(batches), max(batches)))
            options = BuildOptions(min_shapes=low, opt_shapes=high, max_shapes=high)
        build_engine(onnx_path, plans[role], options)
    return plans
