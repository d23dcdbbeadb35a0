"""From a prepared torch network to an ONNX graph: ``torch.export``, then ``torch.onnx`` with our translations."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from torch import nn
from torch.export import Dim

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.dimensions import BATCH, HEIGHT, WIDTH
from dyn2trt.export.dynamic_kernels import batch_groups, placeholders
from dyn2trt.export.refusal import check_program, refused_conversion, refused_forward
from dyn2trt.export.translation import translation_table

OPSETS = {"fp32": 20, "fp16": 20, "bf16": 22}
"""Oldest opset whose ops take the precision, and which the bodies are written for: bfloat16 Conv came with 22."""


def trace(
    network: nn.Module,
    input_shape: Sequence[int],
    *,
    precision: str,
    dynamic_axes: Sequence[int],
    size_multiple: int,
) -> ir.Model:
    """Return the graph of ``network``, which takes one float32 tensor [N, C, H, W].

    Args:
        input_shape: the static shape; where an axis is dynamic, its example.
        dynamic_axes: of the input, among 0, 2 and 3.
        size_multiple: a dynamic height and width are multiples of this.

    Raises:
        Dyn2trtError: torch cannot trace the network, or not with these axes dynamic.
    """
    example = list(input_shape)
    for axis in dynamic_axes:
        # torch.export takes a size of 1 as fixed, and counts a height or width in multiples.
        example[axis] = max(2 if axis == 0 else 2 * size_multiple, example[axis])
    axes = {axis: _dimension(axis, size_multiple) for axis in dynamic_axes}
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(
                network, (torch.zeros(*example),), dynamic_shapes=(axes,) if axes else None, strict=False
            )
        except Dyn2trtError:
            raise
        except Exception as error:
            if axes:
                what = "torch cannot trace the network with a dynamic batch or size (export a static shape, or state "
                raise refused_forward(error, f"{what}the network's size_multiple)") from error
            raise refused_forward(error, "torch cannot trace the network") from error
        check_program(program)
        batch_groups.put_batch_groups(program)
        try:
            exported = torch.onnx.export(
                program,
                custom_translation_table=translation_table()
                | placeholders.translation_table()
                | batch_groups.translation_table(),
                opset_version=OPSETS[precision],
                optimize=True,
                verbose=False,
            )
        except Exception as error:
            raise refused_conversion(error, program) from error
    assert exported is not None
    model = exported.model
    _name_dimensions(model, dynamic_axes)
    return model


def _dimension(axis: int, multiple: int) -> Any:
    """Plain dimensions leave their range to torch; a multiple has to be said, or torch cannot solve its guards."""
    if axis == 0 or multiple == 1:
        return Dim.DYNAMIC
    return multiple * Dim({2: HEIGHT, 3: WIDTH}[axis], min=1)


def _name_dimensions(model: ir.Model, dynamic_axes: Sequence[int]) -> None:
    """Call torch's symbols (``s77``) by the names of the input's axes, in every shape."""
    shape = model.graph.inputs[0].shape
    assert shape is not None
    names: dict[str, str] = {}
    for axis in dynamic_axes:
        symbol = str(shape[axis]).rpartition("*")[2]
        names[symbol] = {0: BATCH, 2: HEIGHT, 3: WIDTH}[axis]
    if not names:
        return
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape([_named(d, names) for d in value.shape])


def _named(dimension: Any, names: dict[str, str]) -> int | str | None:
    if isinstance(dimension, int) or dimension.value is None:
        return dimension if isinstance(dimension, int) else None
    text = dimension.value
    for symbol, name in names.items():
        text = text.replace(symbol, name)
    return text


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own chatter about registrations and deprecations of its inner parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
