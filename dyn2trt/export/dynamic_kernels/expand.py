"""Placeholders of a traced graph become standard ops, and their description for the metadata."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import onnx_ir as ir
from onnx_ir.passes import common

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.dynamic_kernels import placeholders
from dyn2trt.export.dynamic_kernels.forms import Tensors, choose_form, write_form
from dyn2trt.export.dynamic_kernels.geometry import Geometry
from dyn2trt.export.dynamic_kernels.writer import Writer
from dyn2trt.export.metadata import COEFFICIENTS_PREFIX, DynamicConvolution, KernelPredictor
from dyn2trt.export.surgery.graph import unique
from dyn2trt.macs import KernelMacs

_OURS = (placeholders.COEFFICIENTS, placeholders.CONVOLUTION)
_PARTS = ("Split", "Slice", "Gather", "Reshape", "Identity")
"""Ops that take a part of a predictor's coefficients."""


def expand_kernels(model: ir.Model, macs: Sequence[KernelMacs]) -> tuple[KernelPredictor, ...]:
    """Replace every placeholder, in place; coefficients become values ``coefficients{i}``, in execution order.

    Args:
        macs: of every predictor, in execution order.

    Raises:
        Dyn2trtError: a dynamic convolution takes its coefficients from no `CoefficientPredictor`.
    """
    graph = model.graph
    taken: set[str] = set()
    predictors: dict[ir.Value, tuple[str, list[DynamicConvolution]]] = {}
    for node in [node for node in graph if node.domain == placeholders.DOMAIN and node.op_type in _OURS]:
        name = unique(node.attributes["path"].as_string(), taken)  # A module may run twice.
        if node.op_type == placeholders.COEFFICIENTS:
            marked = _name_coefficients(graph, node, f"{COEFFICIENTS_PREFIX}{len(predictors)}")
            predictors[marked] = (name, [])
        else:
            convolution, coefficients = _expand(graph, node, name)
            predictors[_source(coefficients, predictors, convolution.name)][1].append(convolution)
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    return tuple(
        KernelPredictor(
            name=name,
            coefficients=str(value.name),
            size=_size(value),
            macs_generation=count.macs_generation,
            macs_convolutions=count.macs_convolutions,
            convolutions=tuple(convolutions),
        )
        for (value, (name, convolutions)), count in zip(predictors.items(), macs, strict=True)
    )


def _name_coefficients(graph: ir.Graph, node: ir.Node, name: str) -> ir.Value:
    """Drop the marker and give what it marks its name."""
    predicted = node.inputs[0]
    assert predicted is not None
    predicted.name = name
    if node.outputs[0].is_graph_output():  # It has a name of its own there.
        graph.insert_before(node, copy := ir.Node("", "Identity", [predicted], name=f"{name}/Identity", num_outputs=1))
        hand_over(node.outputs[0], copy.outputs[0])
    else:
        ir.convenience.replace_all_uses_with(node.outputs[0], predicted)
    graph.remove(node, safe=True)
    return predicted


def _expand(graph: ir.Graph, node: ir.Node, name: str) -> tuple[DynamicConvolution, ir.Value]:
    """Write the nodes of one dynamic convolution; also returns its own coefficients."""
    x, coefficients, weight, *rest = node.inputs
    assert x is not None
    assert coefficients is not None
    assert weight is not None
    assert weight.const_value is not None
    bias = rest[0] if rest else None
    array = weight.const_value.numpy()
    kernels = node.attributes["kernels"].as_int()
    geometry = Geometry(
        in_channels=_size(x),
        out_channels=array.shape[0] // kernels,
        groups=node.attributes["groups"].as_int(),
        kernel_size=(array.shape[2], array.shape[3]),
        strides=pair(node, "strides"),
        pads=pair(node, "pads"),
        dilations=pair(node, "dilations"),
        kernels=kernels,
    )
    output = node.outputs[0]
    assert output.shape is not None
    batch, _, *size = output.shape
    writer = Writer(graph, name, before=node)
    cast = coefficients
    if (wanted := ir.DataType.from_numpy(array.dtype)) != coefficients.dtype:
        cast = writer.op("Cast", [coefficients], to=int(wanted))
    tensors = Tensors(
        x=x,
        coefficients=cast,
        weight=array,
        bias=None if bias is None or bias.const_value is None else bias.const_value.numpy(),
        batch=batch if isinstance(batch, int) else None,
        size=(size[0], size[1]) if all(isinstance(n, int) for n in size) else None,  # type: ignore[arg-type]
    )
    form = choose_form(geometry, tensors.batch)
    for parameter in (weight, bias):
        if parameter is not None:  # Frees its name for the parameter in the layout of the form.
            parameter.name = f"{parameter.name}.traced"
    written = write_form(form, writer, geometry, tensors)
    written.name = f"{name}.out"
    hand_over(output, written)
    graph.remove(node, safe=True)
    convolution = DynamicConvolution(
        **asdict(geometry),
        name=name,
        form=form,
        input=str(x.name),
        coefficients=str(coefficients.name),
        weight=str(writer.made["weight"].name),
        bias=str(writer.made["bias"].name) if "bias" in writer.made else None,
        output=str(written.name),
    )
    return convolution, coefficients


def hand_over(old: ir.Value, new: ir.Value) -> None:
    """Let everything that reads ``old`` read ``new``; a graph output keeps its name."""
    new.shape, new.type = old.shape, old.type
    if old.is_graph_output():
        new.name, old.name = old.name, f"{old.name}.traced"
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def _source(value: ir.Value, predictors: Iterable[ir.Value], path: str) -> ir.Value:
    """The predictor's value that a convolution's coefficients are a part of."""
    known, current = set(predictors), value
    while current not in known:
        producer = current.producer()
        if producer is None or producer.op_type not in _PARTS or producer.inputs[0] is None:
            break
        current = producer.inputs[0]
    else:
        return current
    raise Dyn2trtError(
        f"the coefficients of the dynamic convolution {path} come from no CoefficientPredictor; predict them with the "
        "one of dyn2trt.blocks.dynamic, so that they can be told and compared"
    )


def _size(value: ir.Value) -> int:
    assert value.shape is not None
    size = value.shape[1]
    assert isinstance(size, int)
    return size


def pair(node: ir.Node, name: str) -> tuple[int, int]:
    first, second = node.attributes[name].as_ints()
    return int(first), int(second)
