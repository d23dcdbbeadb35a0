"""Adds the function bodies that a model's ``dyn2trt`` nodes need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx
from onnx import helper

from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops.bodies import adaptive
from dyn2trt.ops.bodies.compositions import COMPOSITIONS
from dyn2trt.ops.bodies.hints import expanded_channels, node_hints
from dyn2trt.ops.bodies.primitives import PRIMITIVE_BODIES
from dyn2trt.ops.bodies.signature import function
from dyn2trt.ops.schema import DOMAIN, SCHEMAS, VERSION

MIN_OPSET = 20
"""Oldest default opset of a model that the bodies are written for."""
MIN_IR_VERSION = 9
"""Oldest IR version whose functions have attributes with defaults."""


def functions_for(model: onnx.ModelProto, *, quick: bool = True) -> list[onnx.FunctionProto]:
    """Return the functions for the model's ``dyn2trt`` nodes, nested ones included, in the schemas' order.

    Args:
        model: read only.
        quick: composites have bodies that run dense where that is cheaper (`dyn2trt.ops.bodies.adaptive`); otherwise
            they are their compositions of primitives and nothing else, which is what to inline.

    Raises:
        Dyn2trtError: an unknown op, a node with a missing input or output, or a model older than `MIN_OPSET`.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    nodes = list(_own_nodes(model.graph.node))
    if nodes and opset < MIN_OPSET:
        raise Dyn2trtError(f"dyn2trt's bodies need opset {MIN_OPSET} or newer, the model imports {opset}; export again")
    adaptive_ops = _adaptive_ops(model, nodes) if quick else set()
    found: dict[str, onnx.FunctionProto] = {}
    while nodes:
        node = nodes.pop()
        _check(node)
        name = node.op_type
        if name not in found:
            adapts = name in adaptive_ops
            body = adaptive.BODIES[name] if adapts else {**PRIMITIVE_BODIES, **COMPOSITIONS}[name]
            hints = adaptive.HINTS[name] if adapts else ()
            found[name] = function(SCHEMAS[name], body, opset, hints)
            nodes.extend(_own_nodes(found[name].node))
    return [found[name] for name in SCHEMAS if name in found]


def attach_bodies(model: onnx.ModelProto, *, quick: bool = True) -> onnx.ModelProto:
    """Return a copy of the model that carries the bodies it needs, imports the domain and states a fitting IR version.

    Functions of domain ``dyn2trt`` that the model had are replaced. Nodes whose body is adaptive get the attributes
    that it wants (`dyn2trt.ops.bodies.hints`), other nodes lose them.

    Raises:
        Dyn2trtError: see `functions_for`.
    """
    functions = functions_for(model, quick=quick)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    others = [f for f in whole.functions if f.domain != DOMAIN]
    del whole.functions[:]
    whole.functions.extend([*others, *functions])
    if not functions:
        return whole
    if all(o.domain != DOMAIN for o in whole.opset_import):
        whole.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    whole.ir_version = max(whole.ir_version, MIN_IR_VERSION)
    nodes = list(_own_nodes(whole.graph.node))
    for node in nodes:
        kept = [a for a in node.attribute if a.name not in adaptive.HINT_NAMES]
        del node.attribute[:]
        node.attribute.extend(kept)
    adaptive_ops = _adaptive_ops(model, nodes) if quick else set()
    hinted = [node for node in nodes if node.op_type in adaptive_ops]
    for node, hints in zip(hinted, node_hints(whole, hinted), strict=True):
        node.attribute.extend(helper.make_attribute(name, value) for name, value in hints.items())
    return whole


def _adaptive_ops(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Composites whose every node can have the adaptive body: it needs to know the depthwise convolution's group."""
    inverted = [node for node in nodes if node.op_type == "GatedInvertedResidual"]
    known = all(expanded_channels(model, node) is not None for node in inverted)
    return set(COMPOSITIONS) - (set() if known else {"GatedInvertedResidual"})


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
    for kind, has, wanted in (("inputs", node.input, schema.inputs), ("outputs", node.output, schema.outputs)):
        given = [name for name in has if name]
        if len(given) != len(wanted):
            raise Dyn2trtError(
                f"node {node.name!r}: in an ONNX file {schema.name} has all of its {kind} "
                f"{', '.join(t.name for t in wanted)}, not {len(given)} of them "
                "(a 1×1 SparseConv is given its set, a MaskGather without data its mask as x)"
            )
