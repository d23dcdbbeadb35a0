"""A gated torch network becomes one checked ONNX file."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import onnx
import onnx_ir as ir
from torch import nn

from dyn2trt import __version__
from dyn2trt.blocks import set_execution
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import accept_float32, to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import model_file
from dyn2trt.export.bfloat16 import widen_refused
from dyn2trt.export.dynamic_kernels.expand import expand_kernels
from dyn2trt.export.dynamic_kernels.expand_batch_groups import expand_batch_groups
from dyn2trt.export.dynamic_kernels.placeholders import put_placeholders
from dyn2trt.export.metadata import Block, Checkpoint, ExportMetadata, Ops, Precision, read_metadata, write_metadata
from dyn2trt.export.model_file import weight_bytes, writing_model
from dyn2trt.export.naming import apply_names
from dyn2trt.export.outputs import FlatOutputs
from dyn2trt.export.refusal import refused_forward
from dyn2trt.export.surgery import dense_twin, inline_composites, with_decision_outputs
from dyn2trt.export.surgery.graph import to_proto
from dyn2trt.export.trace import trace
from dyn2trt.files import check_writable, sha256
from dyn2trt.macs import MacReport, count_macs
from dyn2trt.networks.options import Value
from dyn2trt.ops.bodies import attach_bodies


def export_network(
    network: nn.Module,
    *,
    input_shape: Sequence[int],
    path: str | os.PathLike[str],
    precision: Precision = "fp32",
    ops: Ops = "composite",
    dynamic_batch: bool = False,
    dynamic_size: bool = False,
    with_decisions: bool = False,
    name: str | None = None,
    options: Mapping[str, Value] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    task: str = "other",
    check_file: Callable[[Path], None] | None = None,
) -> ExportMetadata:
    """Write ``network`` as one ONNX file: input ``x`` and outputs ``out0``, ``out1``, ... or by their keys, in float32.

    BatchNorm is folded, weights and arithmetic are cast to ``precision`` while gates stay float32, and every gated
    block is a node of domain ``dyn2trt`` with its body in the file. The same arguments give the same bytes.

    Args:
        network: takes one tensor [N, C, H, W], gives a tensor, or tuples and dicts of them (`output_names`); left as it
            is.
        input_shape: [N, C, H, W].
        path: the file to write, whole or not at all.
        ops: ``composite``: one node a block; ``primitive``: blocks written out in MaskGather, SparseConv and
            MaskScatter; ``dense``: the ungated network in standard ops, the baseline. A network of dynamic kernels
            alone has no gates and is always ``dense``.
        dynamic_batch: any batch size.
        dynamic_size: any height and width; multiples of ``network.size_multiple`` where it has that attribute.
        with_decisions: what the network decides as further outputs: each gate's ``mask0``, ..., bool [N, 1, Ho, Wo],
            and the ``coefficients0``, ..., float32 [N, size], of its dynamic kernels.
        name, options, checkpoint, seed, task: for the metadata: where the network and its weights come from.
        check_file: is given the file before it takes its place, and raises where it must not.

    Raises:
        Dyn2trtError: the network refuses the shape, cannot be traced, or has neither a gated block nor dynamic
            kernels; or the file cannot be written.
    """
    _check_arguments(input_shape, precision, ops)
    check_writable(path)
    macs = _count(network, input_shape)
    dynamic_axes = ((0,) if dynamic_batch else ()) + ((2, 3) if dynamic_size else ())
    size_multiple = int(getattr(network, "size_multiple", 1))
    prepared = to_precision(fold_batchnorm(network, input_shape), precision)
    accept_float32(prepared)
    set_execution(prepared, "sparse")
    put_placeholders(prepared)
    outputs = FlatOutputs()
    prepared.register_forward_hook(outputs)
    graph = trace(prepared, input_shape, precision=precision, dynamic_axes=dynamic_axes, size_multiple=size_multiple)
    gates = apply_names(graph, outputs.names)
    image_kernels = expand_batch_groups(graph)  # before dynamic kernels become convolutions with computed weights too
    kernels = expand_kernels(graph, macs.kernels)
    if not macs.blocks:
        ops = _without_gates(name or type(network).__name__, ops, bool(kernels or image_kernels))
    if with_decisions and ops == "dense" and not kernels:
        raise Dyn2trtError("the dense network decides nothing, so it has no decisions to give; leave one out")
    widen_refused(graph)
    metadata = ExportMetadata(
        version=__version__,
        network=name or type(network).__name__,
        options=dict(options or {}),
        checkpoint=Checkpoint(Path(checkpoint).name, sha256(checkpoint)) if checkpoint is not None else None,
        seed=seed if checkpoint is None else None,
        precision=precision,
        ops="composite",
        input_shape=tuple(input_shape),  # type: ignore[arg-type]
        dynamic_axes=dynamic_axes,
        size_multiple=size_multiple,
        outputs=tuple(str(value.name) for value in graph.graph.outputs),
        masks=(),
        blocks=_blocks(gates, macs),
        macs_gated=macs.macs_gated,
        macs_gates=macs.macs_gates,
        macs_ungated=macs.macs_ungated,
        task=task,
        kernels=kernels,
        image_kernels=image_kernels,
        macs_generation=macs.macs_generation,
    )
    model = _finish(graph, metadata, ops, with_decisions)
    with writing_model(model, path) as temporary:
        _check_standard(model, temporary)
        if check_file is not None:
            check_file(temporary)
    return read_metadata(model)


def check(model: onnx.ModelProto) -> None:
    """Run ONNX's full check and strict shape and type inference, function bodies included.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the model breaks the standard; a bug.
    """
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def _check_standard(model: onnx.ModelProto, path: Path) -> None:
    """`check` of the model that is written at ``path``.

    Raises:
        Dyn2trtError: it breaks the standard.
    """
    try:
        if weight_bytes(model) <= model_file.EMBEDDED_LIMIT:
            check(model)
            return
        onnx.checker.check_model(str(path), full_check=True)
        with tempfile.TemporaryDirectory() as folder:
            onnx.shape_inference.infer_shapes_path(str(path), f"{folder}/inferred.onnx", True, True, True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise Dyn2trtError(
            f"the file would break ONNX's rules, so it was not written ({str(error).splitlines()[0]}); that is a "
            "fault of dyn2trt or of torch.onnx: please report it with what --debug shows"
        ) from error


def _check_arguments(input_shape: Sequence[int], precision: str, ops: str) -> None:
    if len(input_shape) != 4 or any(not isinstance(n, int) or n < 1 for n in input_shape):
        raise Dyn2trtError(f"an input shape is [N, C, H, W], such as 1x3x256x256, not {list(input_shape)}")
    for what, value, choices in (("precision", precision, get_args(Precision)), ("ops", ops, get_args(Ops))):
        if value not in choices:
            raise Dyn2trtError(f"{what} is one of {', '.join(choices)}, not {value!r}")


def _without_gates(name: str, ops: Ops, dynamic_kernels: bool) -> Ops:
    """What a network without gated blocks is written as: dense, for all its nodes are standard ops."""
    if not dynamic_kernels and ops != "dense":
        raise Dyn2trtError(
            f"{name} has no gated block and no dynamic kernels, so there is nothing dynamic about it; build it from "
            "dyn2trt.blocks with a mask unit, or export with ops 'dense'"
        )
    return "dense"


def _count(network: nn.Module, input_shape: Sequence[int]) -> MacReport:
    _check_signature(network)
    try:
        return count_macs(network, input_shape)
    except Dyn2trtError:
        raise
    except Exception as error:
        raise refused_forward(error, f"the network refuses an input of {'x'.join(map(str, input_shape))}") from error


def _check_signature(network: nn.Module) -> None:
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):  # Of a scripted module; running it will tell.
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise Dyn2trtError(
            f"a network takes one tensor [N, C, H, W], but the forward of {type(network).__name__} takes "
            f"{', '.join(signature.parameters) or 'nothing'}; wrap it in a module that takes one and gives it the "
            "others"
        ) from error


def _blocks(gates: Sequence[tuple[str, str]], macs: MacReport) -> tuple[Block, ...]:
    """Nodes and counts of each block, matched by execution order.

    Raises:
        Dyn2trtError: a block did not run through its op.
    """
    if len(gates) != len(macs.blocks):
        raise Dyn2trtError(
            f"{len(macs.blocks)} gated blocks ran ({', '.join(block.name for block in macs.blocks)}), but {len(gates)} "
            "of them through their op: a subclass that overrides forward has to call the one it overrides"
        )
    return tuple(
        Block(
            name=node,
            op=block.op,
            logits=logits,
            grid=block.grid,
            macs_total=block.macs_total,
            macs_per_active_site=block.macs_per_active_site,
            macs_per_halo_site=block.macs_per_halo_site,
            halo_grid=block.halo_grid,
            halo_stride=block.halo_stride,
            gate=block.decides,  # type: ignore[arg-type]
        )
        for (node, logits), block in zip(gates, macs.blocks, strict=True)
    )


def _finish(graph: ir.Model, metadata: ExportMetadata, ops: Ops, with_decisions: bool) -> onnx.ModelProto:
    graph.producer_name, graph.producer_version = "dyn2trt", metadata.version
    graph.graph.name = metadata.network
    model = to_proto(graph)
    write_metadata(model, metadata)
    model = dense_twin(model) if ops == "dense" else attach_bodies(model)
    if ops == "primitive":
        model = inline_composites(model)
    return with_decision_outputs(model) if with_decisions else model
