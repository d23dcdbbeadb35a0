"""The network with fixed kernels: what generating kernels for every image costs is measured against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper
from onnx.reference import ReferenceEvaluator

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import INPUT, DynamicConvolution, ImageKernels, KernelPredictor, read_metadata
from dyn2trt.export.surgery.graph import border, close_model, constant, open_model
from dyn2trt.export.surgery.graph import coefficients as coefficient_values

MIDDLE = 0.5
"""Of a coefficient's range."""


def static_twin(model: onnx.ModelProto, coefficients: Sequence[np.ndarray] | None = None) -> onnx.ModelProto:
    """Replace every dynamic convolution by an ordinary one of the same shape, with one set of kernels for all images.

    Generation goes, and so do predictors that nothing else reads; what remains is the fixed-kernel network of the same
    widths, and the metadata has no ``kernels`` any more. Kernels that a user's own code makes become random ones, and
    the multiply-accumulates of making them, which nobody counted apart, stay in the metadata's sum.

    Args:
        coefficients: one float array [size] a predictor, in execution order; None puts 0.5, the middle of their range.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt, has no dynamic kernels, or the coefficients do not fit.
    """
    opened, metadata = open_model(model)
    if not metadata.kernels and not metadata.image_kernels:
        raise Dyn2trtError(f"{metadata.network} has no dynamic kernels, so it has no twin with static ones")
    arrays = _checked(metadata.kernels, coefficients)
    graph = opened.graph
    for _, value in coefficient_values(opened, metadata):
        if value in graph.outputs:
            graph.outputs.remove(value)
    for predictor, array in zip(metadata.kernels, arrays, strict=True):
        for convolution in predictor.convolutions:
            _replace(graph, convolution, _own(model, predictor, convolution, array))
    for kernels in metadata.image_kernels:
        _replace_image_kernels(graph, kernels)
    return close_model(
        opened,
        replace(
            metadata,
            kernels=(),
            image_kernels=(),
            coefficients=(),
            macs_generation=0,
            macs_ungated=metadata.macs_ungated - metadata.macs_generation,
        ),
    )


def _checked(predictors: Sequence[KernelPredictor], coefficients: Sequence[np.ndarray] | None) -> list[np.ndarray]:
    if coefficients is None:
        return [np.full(predictor.size, MIDDLE, np.float32) for predictor in predictors]
    given, wanted = [tuple(np.shape(array)) for array in coefficients], [(p.size,) for p in predictors]
    if given != wanted:
        raise Dyn2trtError(f"expected coefficients of the shapes {wanted}, one array a predictor, not {given}")
    return [np.asarray(array, np.float32) for array in coefficients]


def _own(
    model: onnx.ModelProto, predictor: KernelPredictor, convolution: DynamicConvolution, array: np.ndarray
) -> np.ndarray:
    """A convolution's part, [out_channels, kernels], of its predictor's coefficients.

    Evaluated at the batch and size of the file, for a network of the user's own may hold either as a literal.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    metadata = read_metadata(model)
    feeds = {
        predictor.coefficients: np.tile(array, (metadata.input_shape[0], 1)),
        INPUT: np.zeros(metadata.input_shape, np.float32),
    }
    nodes: list[onnx.NodeProto] = []
    wanted, seen = [convolution.coefficients], set(feeds)
    while wanted:
        name = wanted.pop()
        if name not in seen and name in makers:
            nodes.append(makers[name])
            wanted += makers[name].input
        seen.add(name)
    if not nodes:
        return array.reshape(convolution.out_channels, convolution.kernels)
    order = {id(node): index for index, node in enumerate(model.graph.node)}
    graph = helper.make_graph(
        sorted(nodes, key=lambda node: order[id(node)]),
        "part",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, values.shape) for name, values in feeds.items()],
        [helper.make_tensor_value_info(convolution.coefficients, onnx.TensorProto.FLOAT, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in seen],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import)
    found = ReferenceEvaluator(part).run([convolution.coefficients], feeds)
    assert isinstance(found, list)
    return np.asarray(found[0])[0].reshape(convolution.out_channels, convolution.kernels)


def _replace(graph: ir.Graph, convolution: DynamicConvolution, weighing: np.ndarray) -> None:
    x, old = border(graph, convolution)
    o, per_group = convolution.out_channels, convolution.in_channels // convolution.groups
    fixed = _array(graph, convolution.weight)
    kernels = np.einsum(
        "ot,otp->op", weighing.astype(np.float64), fixed.astype(np.float64).reshape(*weighing.shape, -1)
    )
    weight = kernels.reshape(o, per_group, *convolution.kernel_size).astype(fixed.dtype)
    inputs = [x, constant(f"{convolution.name}.static_weight", weight)]
    if convolution.bias is not None:
        bias = _array(graph, convolution.bias).reshape(-1)[:o]
        inputs.append(constant(f"{convolution.name}.static_bias", bias))
    graph.initializers.update({str(value.name): value for value in inputs[1:]})
    attrs = [ir.convenience.convert_attribute(key, value) for key, value in convolution.conv_attributes().items()]
    node = ir.Node("", "Conv", inputs, attrs, name=f"{convolution.name}/Conv_static", num_outputs=1)
    producer = old.producer()
    assert producer is not None
    graph.insert_before(producer, node)
    new = node.outputs[0]
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name, old.name = old.name, f"{old.name}_dynamic"


def _replace_image_kernels(graph: ir.Graph, kernels: ImageKernels) -> None:
    values = {value.name: value for node in graph for value in (*node.inputs, *node.outputs) if value is not None}
    if kernels.input not in values or kernels.output not in values:
        raise Dyn2trtError(
            f"the ONNX model's metadata names the convolution {kernels.name}, but it is not in the graph as it was "
            "exported: the graph was changed after export; export it again"
        )
    x, old = values[kernels.input], values[kernels.output]
    producer = old.producer()
    assert producer is not None
    assert x.shape is not None
    assert x.dtype is not None
    assert old.shape is not None
    c, o, g = kernels.in_channels, kernels.out_channels, kernels.groups
    shape = (c, o // g, *kernels.kernel_size) if kernels.transposed else (o, c // g, *kernels.kernel_size)
    drawn = np.random.default_rng(0).standard_normal(shape) / np.sqrt(kernels.kernel_numbers)
    weight = drawn.astype(x.dtype.numpy())
    attributes = kernels.conv_attributes()
    attributes["pads"] = [*kernels.pads, *(kernels.pads_behind or kernels.pads)]
    if kernels.transposed:
        attributes["output_padding"] = list(kernels.output_padding)

    def insert(op_type: str, data: ir.Value, name: str, array: np.ndarray, **attributes: Any) -> ir.Value:
        name = f"{kernels.name}/{name}"
        second = constant(f"{name}.constant", array)
        graph.initializers.add(second)
        attrs = [ir.convenience.convert_attribute(key, value) for key, value in attributes.items()]
        node = ir.Node("", op_type, [data, second], attrs, name=name, num_outputs=1)
        node.outputs[0].name = f"{name}.out"
        graph.insert_before(producer, node)
        return node.outputs[0]

    images = x if x.shape[1] == c else insert("Reshape", x, "apart", np.array([-1, c, 0, 0]))
    new = insert("ConvTranspose" if kernels.transposed else "Conv", images, "Conv_static", weight, **attributes)
    if old.shape[1] != o:
        new = insert("Reshape", new, "side_by_side", np.array([1, -1, 0, 0]))
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name, old.name = old.name, f"{old.name}_dynamic"


def _array(graph: ir.Graph, name: str) -> np.ndarray:
    tensor = graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()
