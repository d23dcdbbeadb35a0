"""How a dynamic convolution is written in standard ops: the forms, and which one a file gets.

All forms first make or use per-image kernels from the fixed ones, weight [O, g_t, C/G·kh·kw], and coefficients
[N, O·g_t]; docs/dynamic_kernels.md says what each costs, measured by benchmarks/kernel_forms.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from dyn2trt.export.dynamic_kernels.geometry import ConvGeometry, Geometry
from dyn2trt.export.dynamic_kernels.writer import Writer
from dyn2trt.export.metadata import KernelForm


@dataclass(frozen=True)
class Tensors:
    """What a form reads.

    Attributes:
        x: [N, C, H, W] in the file's precision.
        coefficients: [N, O·g_t] in the same precision.
        weight: [O·g_t, C/G, kh, kw].
        bias: [O] or None.
        batch: N, or None where it is dynamic.
        size: (Ho, Wo), or None where it is dynamic.
    """

    x: ir.Value
    coefficients: ir.Value
    weight: np.ndarray
    bias: np.ndarray | None
    batch: int | None
    size: tuple[int, int] | None


def choose_form(geometry: ConvGeometry, batch: int | None) -> KernelForm:
    """The form that a file gets: ``batch`` None for a dynamic one.

    Only kernels that are sums of fixed ones can be left out for their feature maps; others are always made.
    """
    if batch is not None:
        return "grouped"
    if geometry.is_pointwise:
        return "matmul"
    return "feature_maps" if geometry.is_depthwise and isinstance(geometry, Geometry) else "unfold"


def write_form(form: KernelForm, writer: Writer, geometry: Geometry, tensors: Tensors) -> ir.Value:
    """Write the nodes of ``form``; returns [N, O, Ho, Wo], bias included."""
    return {
        "grouped": _grouped,
        "matmul": _product,
        "unfold": _product,
        "feature_maps": _feature_maps,
    }[form](writer, geometry, tensors)


def _generate(writer: Writer, geometry: Geometry, tensors: Tensors, shape: list[int]) -> ir.Value:
    """Every image's kernels, reshaped to ``shape`` from [N, O, 1, C/G·kh·kw]."""
    o, t = geometry.out_channels, geometry.kernels
    fixed = writer.constant("weight", tensors.weight.reshape(o, t, geometry.kernel_numbers))
    weighing = writer.reshape(tensors.coefficients, [0, o, 1, t])
    return writer.reshape(writer.op("MatMul", [weighing, fixed]), shape)


def _grouped(writer: Writer, geometry: Geometry, tensors: Tensors) -> ir.Value:
    """One Conv of N·G groups over the images side by side; each image's kernels are a slice of its weight tensor."""
    n, o = tensors.batch, geometry.out_channels
    assert n is not None
    per_group = geometry.in_channels // geometry.groups
    kernels = _generate(writer, geometry, tensors, [n * o, per_group, *geometry.kernel_size])
    x = tensors.x if n == 1 else writer.reshape(tensors.x, [1, n * geometry.in_channels, 0, 0])
    inputs = [x, kernels]
    if tensors.bias is not None:
        inputs.append(writer.constant("bias", np.tile(tensors.bias, n)))
    y = writer.op("Conv", inputs, **geometry.conv_attributes(n))
    return y if n == 1 else writer.reshape(y, [n, o, 0, 0])


def _product(writer: Writer, geometry: Geometry, tensors: Tensors) -> ir.Value:
    columns = patches(writer, geometry, tensors.x, tensors.weight.dtype)
    shape = [0, geometry.groups, geometry.out_channels // geometry.groups, geometry.kernel_numbers]
    y = multiply(writer, geometry, _generate(writer, geometry, tensors, shape), columns, tensors.size)
    return _add_bias(writer, tensors, y)


def patches(writer: Writer, geometry: ConvGeometry, x: ir.Value, dtype: np.dtype) -> ir.Value:
    """What each output position reads of x [N, C, H, W], as [N, C·kh·kw, Ho, Wo]: by a Conv with one-hot kernels.

    Of a pointwise convolution that is x itself, or every so many of its rows and columns.
    """
    if geometry.is_pointwise:
        return x if geometry.strides == (1, 1) else writer.every(x, geometry.strides)
    (kh, kw), c = geometry.kernel_size, geometry.in_channels
    one_hot = np.tile(np.eye(kh * kw, dtype=np.float32), (c, 1)).reshape(c * kh * kw, 1, kh, kw).astype(dtype)
    weight = writer.shared(f"one_hot_{kh}x{kw}_of_{c}_{dtype}", one_hot)
    return writer.op("Conv", [x, weight], **geometry.conv_attributes() | {"group": c})


def transposed_patches(
    writer: Writer, geometry: ConvGeometry, x: ir.Value, dtype: np.dtype, output_padding: tuple[int, int]
) -> ir.Value:
    """The same for a transposed convolution, by a ConvTranspose with one-hot kernels."""
    (kh, kw), c = geometry.kernel_size, geometry.in_channels
    one_hot = np.tile(np.eye(kh * kw, dtype=np.float32), (c, 1)).reshape(c, kh * kw, kh, kw).astype(dtype)
    weight = writer.shared(f"one_hot_{kh}x{kw}_from_{c}_{dtype}", one_hot)
    attributes = geometry.conv_attributes() | {"group": c, "output_padding": list(output_padding)}
    return writer.op("ConvTranspose", [x, weight], **attributes)


def multiply(
    writer: Writer, geometry: ConvGeometry, kernels: ir.Value, columns: ir.Value, size: tuple[int, int] | None
) -> ir.Value:
    """One batched matrix product, [N, G, O/G, C/G·kh·kw] · [N, G, C/G·kh·kw, Ho·Wo], as [N, O, Ho, Wo].

    Args:
        kernels: [N, G, O/G, C/G·kh·kw].
        columns: what `patches` made.
        size: (Ho, Wo), or None where it is dynamic.
    """
    columns_of_groups = writer.reshape(columns, [0, geometry.groups, geometry.kernel_numbers, -1])
    y = writer.op("MatMul", [kernels, columns_of_groups])
    return writer.reshape_to_image(y, geometry.out_channels, size, columns)


def _feature_maps(writer: Writer, geometry: Geometry, tensors: Tensors) -> ir.Value:
    """An ordinary Conv with all fixed kernels, g_t times the work; its maps are then weighed and summed."""
    o, t = geometry.out_channels, geometry.kernels
    maps = writer.op("Conv", [tensors.x, writer.constant("weight", tensors.weight)], **geometry.conv_attributes())
    weighing = writer.reshape(tensors.coefficients, [0, o, 1, t])
    y = writer.op("MatMul", [weighing, writer.reshape(maps, [0, o, t, -1])])
    return _add_bias(writer, tensors, writer.reshape_to_image(y, o, tensors.size, maps))


def _add_bias(writer: Writer, tensors: Tensors, y: ir.Value) -> ir.Value:
    if tensors.bias is None:
        return y
    return writer.op("Add", [y, writer.constant("bias", tensors.bias.reshape(-1, 1, 1))])
