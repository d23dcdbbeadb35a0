"""Adds the function bodies that a model's ``dyn2trt`` nodes need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops.bodies.composites import COMPOSITE_BODIES
from dyn2trt.ops.bodies.primitives import PRIMITIVE_BODIES
from dyn2trt.ops.bodies.signature import function
from dyn2trt.ops.schema import DOMAIN, SCHEMAS, VERSION

MIN_OPSET = 20
"""Oldest default opset of a model that the bodies are written for."""
MIN_IR_VERSION = 9
"""Oldest IR version whose functions have attributes with defaults."""


def functions_for(model: onnx.ModelProto) -> list[onnx.FunctionProto]:
    """Return the functions for the model's ``dyn2trt`` nodes, nested ones included, in the schemas' order.

    Raises:
        Dyn2trtError: an unknown op, a node with a missing input, or a model older than `MIN_OPSET`.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise Dyn2trtError(
            f"dyn2trt's bodies need opset {MIN_OPSET} or newer, the model imports {opset}; export it anew"
        )
    bodies = {**PRIMITIVE_BODIES, **COMPOSITE_BODIES}
    found: dict[str, onnx.FunctionProto] = {}
    waiting = list(_own_nodes(model.graph.node))
    while waiting:
        node = waiting.pop()
        _check(node)
        if node.op_type not in found:
            found[node.op_type] = function(SCHEMAS[node.op_type], bodies[node.op_type], opset)
            waiting.extend(_own_nodes(found[node.op_type].node))
    return [found[name] for name in SCHEMAS if name in found]


def attach_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model that carries the bodies it needs, imports the domain and states a fitting IR version.

    Functions of domain ``dyn2trt`` that the model had are replaced.

    Raises:
        Dyn2trtError: see `functions_for`.
    """
    functions = functions_for(model)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    others = [f for f in whole.functions if f.domain != DOMAIN]
    del whole.functions[:]
    whole.functions.extend([*others, *functions])
    if functions:
        if all(o.domain != DOMAIN for o in whole.opset_import):
            whole.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
        whole.ir_version = max(whole.ir_version, MIN_IR_VERSION)
    return whole


def _own_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        if node.domain == DOMAIN:
            yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _own_nodes(graph.node)


def _check(node: onnx.NodeProto) -> None:
    schema = SCHEMAS.get(node.op_type)
    if schema is None:
        raise Dyn2trtError(f"{DOMAIN} has no op {node.op_type} (node {node.name!r}); it has {', '.join(SCHEMAS)}")
    given = [name for name in node.input if name]
    if len(given) != len(schema.inputs):
        raise Dyn2trtError(
            f"node {node.name!r}: in an ONNX file {schema.name} takes all of "
            f"{', '.join(t.name for t in schema.inputs)}, not {len(given)} inputs "
            "(a 1×1 SparseConv is given its set, a MaskGather without data its mask as x)"
        )
