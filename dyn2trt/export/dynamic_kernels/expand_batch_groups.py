"""Convolutions whose groups are the images of a batch become standard ops that serve any batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

import onnx_ir as ir
from onnx_ir.passes import common

from dyn2trt.export.dynamic_kernels import batch_groups
from dyn2trt.export.dynamic_kernels.expand import hand_over, pair
from dyn2trt.export.dynamic_kernels.forms import choose_form, multiply, patches, transposed_patches
from dyn2trt.export.dynamic_kernels.geometry import ConvGeometry
from dyn2trt.export.dynamic_kernels.placeholders import DOMAIN
from dyn2trt.export.dynamic_kernels.writer import Writer
from dyn2trt.export.metadata import ImageKernels
from dyn2trt.export.surgery.graph import unique

_SAME_ORDER = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
"""Ops that give the elements of their first input, in the same order, another shape."""


def expand_batch_groups(model: ir.Model) -> tuple[ImageKernels, ...]:
    """Replace every placeholder of `batch_groups`, in place; describe each convolution whose kernels an image makes.

    In a file with a static batch these stay the Conv nodes of N·G groups that torch wrote.
    """
    graph = model.graph
    taken: set[str] = set()
    made = _made_of_the_input(graph)
    found = []
    for node in list(graph):
        if node.domain == DOMAIN and node.op_type == batch_groups.CONVOLUTION:
            name = unique(node.attributes["path"].as_string(), taken)
            found.append(_expand(graph, node, name))
        elif node.op_type in ("Conv", "ConvTranspose") and node.inputs[1] in made:
            path = str(node.name).rpartition("/")[0]
            found.append(_describe(graph, node, unique(path or node.op_type, taken)))
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    return tuple(found)


def _made_of_the_input(graph: ir.Graph) -> set[ir.Value]:
    """Values that depend on the content of the graph's inputs, not on their shape alone."""
    made = set(graph.inputs)
    for node in graph:
        if node.op_type not in ("Shape", "Size") and made.intersection(v for v in node.inputs if v is not None):
            made.update(node.outputs)
    return made


def _describe(graph: ir.Graph, node: ir.Node, name: str) -> ImageKernels:
    """A Conv or ConvTranspose with computed weights, as torch wrote it."""
    x, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    assert x is not None
    assert x.shape is not None
    assert weight is not None
    assert weight.shape is not None
    assert output.shape is not None
    assert graph.inputs[0].shape is not None
    batch, groups = graph.inputs[0].shape[0], node.attributes.get_int("group", 1)
    # Of an ordinary convolution whose kernels all images share, every image is one of the batch already.
    n = batch if x.shape[0] == 1 and isinstance(batch, int) and groups % batch == 0 else 1
    top, left, bottom, right = node.attributes.get_ints("pads", [0, 0, 0, 0])
    channels, filters, kernel = int(x.shape[1]) // n, int(output.shape[1]) // n, weight.shape[2:]  # type: ignore[arg-type]
    return ImageKernels(
        channels,
        filters,
        groups // n,
        (int(kernel[0]), int(kernel[1])),  # type: ignore[arg-type]
        _two(node.attributes.get_ints("strides", [1, 1])),
        (top, left),
        _two(node.attributes.get_ints("dilations", [1, 1])),
        name=name,
        form="grouped",
        input=str(next(_of_images(_back(x), channels, x), x).name),
        output=str(next(_of_images(_forth(output), filters, output), output).name),
        transposed=node.op_type == "ConvTranspose",
        pads_behind=None if (bottom, right) == (top, left) else (bottom, right),
        output_padding=_two(node.attributes.get_ints("output_padding", [0, 0])),
    )


def _two(numbers: Sequence[int]) -> tuple[int, int]:
    first, second = numbers
    return first, second


def _expand(graph: ir.Graph, node: ir.Node, name: str) -> ImageKernels:
    x, weight, *rest = node.inputs
    bias = rest[0] if rest else None
    output = node.outputs[0]
    assert x is not None
    assert weight is not None
    assert weight.shape is not None
    assert weight.dtype is not None
    assert output.shape is not None
    c, o, g = (node.attributes[key].as_int() for key in ("in_channels", "out_channels", "groups"))
    transposed = bool(node.attributes["transposed"].as_int())
    kh, kw = (int(k) for k in weight.shape[2:])  # type: ignore[arg-type]
    geometry = ConvGeometry(c, o, g, (kh, kw), pair(node, "strides"), pair(node, "pads"), pair(node, "dilations"))
    form = "unfold" if transposed else choose_form(geometry, None)
    writer = Writer(graph, name, before=node)
    dtype = weight.dtype.numpy()
    images = _images(writer, x, c)
    if transposed:
        columns = transposed_patches(writer, geometry, images, dtype, pair(node, "output_padding"))
        of_inputs = writer.reshape(_root(weight), [-1, g, c // g, o // g, kh * kw])
        swapped = writer.op("Transpose", [of_inputs], perm=[0, 1, 3, 2, 4])
        kernels = writer.reshape(swapped, [0, g, o // g, geometry.kernel_numbers])
    else:
        columns = patches(writer, geometry, images, dtype)
        kernels = writer.reshape(_root(weight), [-1, g, o // g, geometry.kernel_numbers])
    height, width = output.shape[2:]
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    y = multiply(writer, geometry, kernels, columns, size)
    if bias is not None:
        y = writer.op("Add", [y, writer.reshape(_root(bias), [-1, o, 1, 1])])
    _deliver(writer, node, y, o)
    graph.remove(node, safe=True)
    return ImageKernels(
        **asdict(geometry),
        name=name,
        form=form,
        input=str(images.name),
        output=str(y.name),
        transposed=transposed,
        output_padding=pair(node, "output_padding"),
    )


def _images(writer: Writer, x: ir.Value, channels: int) -> ir.Value:
    """[1, N·C, H, W] as [N, C, H, W]: what it was laid side by side from, where that is still there."""
    found = next(_of_images(_back(x), channels, x), None)
    if found is not None:
        return found
    assert x.shape is not None
    images = writer.reshape(x, [-1, channels, 0, 0])
    images.shape, images.type = ir.Shape([None, channels, *x.shape[2:]]), x.type
    return images


def _of_images(values: Iterable[ir.Value], channels: int, side_by_side: ir.Value) -> Iterator[ir.Value]:
    """Those of ``values``, all with the elements of ``side_by_side`` [1, N·C, H, W], that are [N, channels, H, W]."""
    assert side_by_side.shape is not None
    wanted = (channels, *side_by_side.shape[2:])
    for value in values:
        if value.shape is not None and len(value.shape) == 4 and tuple(value.shape[1:]) == wanted:
            yield value


def _deliver(writer: Writer, node: ir.Node, y: ir.Value, channels: int) -> None:
    """Give y [N, O, Ho, Wo] to whatever took the result apart into images, and [1, N·O, Ho, Wo] to the rest."""
    side_by_side = node.outputs[0]
    assert side_by_side.shape is not None
    for value in list(_of_images(_forth(side_by_side), channels, side_by_side)):
        hand_over(value, y)
    if y.shape is None:
        y.shape, y.type = ir.Shape([None, channels, *side_by_side.shape[2:]]), side_by_side.type
    if side_by_side.uses() or side_by_side.is_graph_output():
        hand_over(side_by_side, writer.reshape(y, [1, -1, 0, 0]))


def _root(value: ir.Value) -> ir.Value:
    """Where the elements come from, whatever shapes they were given on the way."""
    return list(_back(value))[-1]


def _back(value: ir.Value) -> Iterator[ir.Value]:
    yield value
    while (producer := value.producer()) is not None and _keeps_order(producer):
        assert producer.inputs[0] is not None
        yield (value := producer.inputs[0])


def _forth(value: ir.Value) -> Iterator[ir.Value]:
    for node, index in list(value.uses()):
        if index == 0 and _keeps_order(node):
            yield node.outputs[0]
            yield from _forth(node.outputs[0])


def _keeps_order(node: ir.Node) -> bool:
    if node.domain != "":
        return False
    if node.op_type == "Transpose" and node.inputs[0] is not None and node.inputs[0].shape is not None:
        moved = [axis for axis in node.attributes["perm"].as_ints() if node.inputs[0].shape[axis] != 1]
        return moved == sorted(moved)
    return node.op_type in _SAME_ORDER
