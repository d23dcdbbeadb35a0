"""An export that runs its own file before it hands it over."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dyn2trt.compare.backends import ONNXRUNTIME, TORCH
from dyn2trt.compare.comparison import compare_model
from dyn2trt.compare.options import CompareOptions
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata, read_metadata
from dyn2trt.export.recipe_export import export_recipe
from dyn2trt.recipe import ExportSection, NetworkSection

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, int, int, int]

_STEP = 8
"""By which a dynamic height or width is changed where any will do."""


def checked_export(
    network: NetworkSection, export: ExportSection, path: str | os.PathLike[str], warn: Callable[[str], None]
) -> ExportMetadata:
    """As `export_recipe`, but a file that fails `check_file` does not appear at ``path``."""
    return export_recipe(network, export, path, warn=warn, check_file=partial(check_file, warn=warn))


def check_file(path: Path, network: nn.Module, warn: Callable[[str], None] = lambda _: None) -> None:
    """Compare a file in ONNX Runtime with its network in torch, on seeded noise, by the rules of ``dyn2trt compare``.

    A file of a dynamic batch or size is run at a second one too.

    Args:
        warn: is told in a line what could not be checked.

    Raises:
        Dyn2trtError: they disagree by more than the precision explains, or torch itself fails at the precision.
    """
    metadata = read_metadata(path)
    for shape in _shapes(metadata):
        shown = "x".join(map(str, shape))
        options = CompareOptions(model=path, backends=(TORCH, ONNXRUNTIME), input_shape=shape)
        try:
            comparison, _ = compare_model(options, network=network)
        except Dyn2trtError as error:
            raise Dyn2trtError(f"the file was not written: {error} (--no-check writes it all the same)") from error
        except RuntimeError as error:
            if shape == metadata.input_shape:
                raise
            warn(f"the file was not checked at {shown}, which the network refuses in torch: {error}".splitlines()[0])
            continue
        (result,) = comparison.backends
        if result.not_run is not None:
            warn(f"the file was not checked in ONNX Runtime: {result.not_run}")
            return
        if not comparison.passed:
            causes = "; ".join(cause.message for cause in (*comparison.causes, *result.causes))
            raise Dyn2trtError(
                f"the file was not written, because at {shown} it computes something else than the network: {causes} "
                "(--no-check writes it all the same, and dyn2trt compare --bisect then finds where)"
            )


def _shapes(metadata: ExportMetadata) -> list[Shape]:
    batch, channels, height, width = metadata.input_shape
    step = metadata.size_multiple if metadata.size_multiple > 1 else _STEP
    other = (
        batch + 1 if 0 in metadata.dynamic_axes else batch,
        channels,
        height + step if 2 in metadata.dynamic_axes else height,
        width + 2 * step if 3 in metadata.dynamic_axes else width,
    )
    return list(dict.fromkeys((metadata.input_shape, other)))
