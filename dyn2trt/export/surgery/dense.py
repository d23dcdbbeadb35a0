"""The ungated dense network in plain ONNX: the baseline that sparse execution has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.bfloat16 import widen_refused
from dyn2trt.export.surgery.graph import attributes_of, close_model, constant, gated_nodes, gates, open_model


def dense_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every gated node by the dense convolutions that it stands for, evaluated everywhere.

    Only standard ops remain (Conv with the bias inside, Relu or Clip, Add; NCHW), which ONNX Runtime and TensorRT
    fuse as in any other network. Gates go, and so do mask and logits outputs. The multiply-accumulates of the blocks
    count as ungated. Where positions halt, no position halts any more; the halting scores stay, for they weigh the
    outputs of the units.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt, or a node of a block is none of the op contract's.
    """
    opened, metadata = open_model(model)
    if metadata.ops == "dense":
        return close_model(opened, metadata)
    graph = opened.graph
    decisions = [gate.logits for gate in gates(opened, metadata)]
    logits = {value.name for value in decisions}
    halting = any(block.gate == "halting" for block in metadata.blocks)
    for value in list(graph.outputs):
        if value.name in logits or value.name in metadata.masks:
            graph.outputs.remove(value)
    for value in list(graph.inputs):
        if value.name in logits:
            graph.inputs.remove(value)
    for node in gated_nodes(opened):
        _Twin(graph, node).build()
    for value in decisions:
        _take_as_active(value)
    common.RemoveUnusedNodesPass()(opened)
    widen_refused(opened)
    if left := [node.name for node in graph if node.domain == DOMAIN]:
        raise Dyn2trtError(f"no dense twin: {', '.join(map(str, left[:3]))} feeds nodes outside the op contract")
    return close_model(
        opened,
        replace(
            metadata,
            ops="dense",
            masks=(),
            blocks=(),
            macs_gated=0,
            macs_gates=0,
            macs_ungated=metadata.macs_gated + metadata.macs_ungated + (metadata.macs_gates if halting else 0),
        ),
    )


def _take_as_active(logits: ir.Value) -> None:
    """Let whatever is chosen by ``logits ≥ threshold`` outside of the gated nodes be what is chosen where it holds."""
    for test in list(logits.consumers()):
        chosen = list(test.outputs[0].consumers()) if test.op_type == "GreaterOrEqual" else []
        for where in chosen:
            condition, active, _ = where.inputs
            if where.op_type == "Where" and condition is test.outputs[0] and active is not None:
                ir.convenience.replace_all_uses_with(where.outputs[0], active)


@dataclass
class _Twin:
    """Builds the dense nodes of one gated node, in front of it, and hands its uses over to them."""

    graph: ir.Graph
    node: ir.Node
    attributes: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.attributes = attributes_of(self.node)

    def build(self) -> None:
        primitives = {
            "MaskGather": self.mask_gather,
            "SparseConv": self.sparse_conv,
            "MaskScatter": self.mask_scatter,
        }
        primitives.get(self.node.op_type, self.composite)()

    def composite(self) -> None:
        schema = SCHEMAS[self.node.op_type]
        assert schema.block is not None
        given = {tensor.name: value for tensor, value in zip(schema.inputs, self.node.inputs, strict=True)}
        activation = self.attributes["activation"]
        y = given["x"]
        for convolution in schema.block.convolutions:
            y = self.conv(
                y,
                (given[f"{convolution.name}_weight"], given[f"{convolution.name}_bias"]),
                convolution.name,
                activation=activation if convolution.activated else "none",
                strides=self.attributes["strides"] if convolution.strided else (1, 1),
            )
        y = self.add(given["x" if schema.block.identity_is_x else "identity"], y)
        outer = activation if schema.block.activated_sum else "none"
        self.hand_over(self.node.outputs[0], self.activate(y, outer, "add"))

    # Primitives: with every site in the set, rows are the dense tensor itself.

    def mask_gather(self) -> None:
        if len(self.node.inputs) > 1 and self.node.inputs[1] is not None and len(self.node.outputs) > 3:
            self.hand_over(self.node.outputs[3], self.node.inputs[1])

    def sparse_conv(self) -> None:
        rows, weight, bias, *_ = self.node.inputs
        geometry = {name: self.attributes[name] for name in ("strides", "pads", "dilations", "activation")}
        self.hand_over(self.node.outputs[0], self.conv(rows, (weight, bias), "conv", **geometry))

    def mask_scatter(self) -> None:
        base, rows, *_ = self.node.inputs
        y = self.add(base, rows) if self.attributes["reduction"] == "add" else rows
        self.hand_over(self.node.outputs[0], self.activate(y, self.attributes["activation"], "add"))

    # Standard nodes.

    def conv(
        self,
        x: ir.Value | None,
        parameters: Sequence[ir.Value | None],
        role: str,
        *,
        activation: str = "none",
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] | None = None,
        dilations: Sequence[int] = (1, 1),
    ) -> ir.Value | None:
        """Conv and activation. ``pads`` default to what keeps the grid: 1 for a 3×3."""
        array, bias = (self.array(value, role) for value in parameters)
        depthwise = array.ndim == 3
        # [kh, kw, C] → [C, 1, kh, kw]; [Cout, kh, kw, Cin] → [Cout, Cin, kh, kw]
        dense = array.transpose(2, 0, 1)[:, None] if depthwise else array.transpose(0, 3, 1, 2)
        kernel = dense.shape[2:]
        if pads is None:
            pads = (kernel[0] // 2, kernel[1] // 2) * 2
        name = f"{self.node.name}/{role}"
        y = self.append(
            "Conv",
            [x, self.initializer(f"{name}.weight", dense), self.initializer(f"{name}.bias", bias)],
            name,
            {
                "dilations": dilations,
                "group": dense.shape[0] if depthwise else 1,
                "kernel_shape": kernel,
                "pads": pads,
                "strides": strides,
            },
        )
        return self.activate(y, activation, role)

    def activate(self, x: ir.Value | None, activation: str, role: str) -> ir.Value | None:
        name = f"{self.node.name}/{role}_{activation}"
        if activation == "none":
            return x
        if activation == "relu":
            return self.append("Relu", [x], name)
        if activation == "hard_swish":
            return self.append("HardSwish", [x], name)
        dtype = self.floating()
        low = self.initializer(f"relu6_min_{dtype.name}", np.array(0, dtype))
        high = self.initializer(f"relu6_max_{dtype.name}", np.array(6, dtype))
        return self.append("Clip", [x, low, high], name)

    def add(self, a: ir.Value | None, b: ir.Value | None) -> ir.Value:
        return self.append("Add", [a, b], f"{self.node.name}/add")

    def append(
        self, op: str, inputs: Sequence[ir.Value | None], name: str, attributes: dict[str, Any] | None = None
    ) -> ir.Value:
        attrs = [ir.convenience.convert_attribute(k, _plain(v)) for k, v in (attributes or {}).items()]
        node = ir.Node("", op, inputs, attrs, name=name, num_outputs=1)
        node.outputs[0].name = f"{name}.out"
        node.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(self.floating()))
        self.graph.insert_before(self.node, node)
        return node.outputs[0]

    def initializer(self, name: str, array: np.ndarray) -> ir.Value:
        """The initializer of that name, made from ``array`` the first time."""
        if name not in self.graph.initializers:
            self.graph.initializers.add(constant(name, array))
        return self.graph.initializers[name]

    def array(self, value: ir.Value | None, role: str) -> np.ndarray:
        if value is None or value.const_value is None:
            raise Dyn2trtError(f"no dense twin: the weights of {self.node.name}/{role} are not initializers")
        return value.const_value.numpy()

    def floating(self) -> np.dtype:
        """Type ``T`` of the node: that of its weights, or of a tensor where it has none."""
        types = [tensor.type for tensor in SCHEMAS[self.node.op_type].inputs]
        given = [value for value, type_ in zip(self.node.inputs, types, strict=False) if type_ == "T"]
        for value in given:
            if value is not None and value.const_value is not None:
                return value.const_value.numpy().dtype
        for value in given:
            if value is not None and value.dtype is not None and value.dtype.is_floating_point():
                return value.dtype.numpy()
        raise Dyn2trtError(f"no dense twin: the type of {self.node.name} is not known")

    def hand_over(self, old: ir.Value, new: ir.Value | None) -> None:
        """Let everything that reads ``old`` read ``new``; a graph output keeps its name."""
        if new is None:
            raise Dyn2trtError(f"no dense twin: {self.node.name} lacks an input")
        if old.shape is not None and len(old.shape) == 4 and new.shape is None:
            new.shape = old.shape
        if not old.is_graph_output():
            ir.convenience.replace_all_uses_with(old, new)
            return
        if new.is_graph_input() or new.is_graph_output():
            new = self.append("Identity", [new], f"{self.node.name}/identity")
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        old.name, new.name = f"{old.name}_gated", old.name


def _plain(value: Any) -> Any:
    return [int(v) for v in value] if isinstance(value, (tuple, list)) else int(value)
