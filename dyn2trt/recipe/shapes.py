"""Shapes of ``[build]`` against the input that ``[export]`` gives the file."""

from __future__ import annotations

from dyn2trt.engine.profiles import parse_shapes, resolve_profiles
from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe.sections import BuildSection, ExportSection


def check_build_shapes(build: BuildSection, export: ExportSection, size_multiple: int = 1) -> None:
    """Check the shapes of ``[build]``, where there are any, against the input that ``[export]`` gives the file.

    Args:
        size_multiple: of the network, where it is known.

    Raises:
        Dyn2trtError: TensorRT could not serve them.
    """
    from dyn2trt.export.metadata import INPUT

    shapes = {name: getattr(build, name) for name in ("min_shapes", "opt_shapes", "max_shapes")}
    if not any(shapes.values()):
        return
    axes = ((0,) if export.dynamic_batch else ()) + ((2, 3) if export.dynamic_size else ())
    x = tuple(-1 if axis in axes else size for axis, size in enumerate(export.input_shape))
    parsed = {name: parse_shapes(text) for name, text in shapes.items()}
    try:
        resolve_profiles({INPUT: x}, **parsed, size_multiple=size_multiple)
    except Dyn2trtError as error:
        told = str(error)
        for name in shapes:
            told = told.replace("--" + name.replace("_", "-"), f"build.{name}")
        raise Dyn2trtError(told) from None
