"""Adds the function bodies that a model's ``dyn2trt`` nodes need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import onnx
from onnx import helper

from dyn2trt.contract import DOMAIN, SCHEMAS, VERSION, OpSchema, composite
from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops.bodies.adaptive import HINT_NAMES, adaptive_body, hints_of
from dyn2trt.ops.bodies.compositions import composition
from dyn2trt.ops.bodies.gates import gated_body
from dyn2trt.ops.bodies.hints import node_hints
from dyn2trt.ops.bodies.primitives import primitive_body
from dyn2trt.ops.bodies.signature import function

MIN_OPSET = 20
"""Oldest default opset of a model that the bodies are written for."""
MIN_IR_VERSION = 9
"""Oldest IR version whose functions have attributes with defaults."""


def functions_for(model: onnx.ModelProto) -> list[onnx.FunctionProto]:
    """Return the functions for the model's ``dyn2trt`` nodes, nested ones included, in the schemas' order.

    A composite that owns its gate has a body of that gate and one node of the composite that is given its logits.
    A composite whose every node states a schedule (`attach_bodies` adds it) has an adaptive body, otherwise its body is
    the composition of primitives that defines it. Bodies are made for the activations and schedules that the nodes
    have; attach them anew when a node changes.

    Raises:
        Dyn2trtError: an unknown op, a node with a missing input or output, or a model older than `MIN_OPSET`.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    waiting = own_nodes(model)
    if waiting and opset < MIN_OPSET:
        raise Dyn2trtError(f"dyn2trt's bodies need opset {MIN_OPSET} or newer, the model imports {opset}; export again")
    for node in waiting:
        _check(node)
    activations, schedules = _values(waiting, "activation"), _values(waiting, "schedule")
    found: dict[str, onnx.FunctionProto] = {}
    while waiting:
        name = waiting.pop().op_type
        if name in found:
            continue
        schema = SCHEMAS[name]
        hints = hints_of(schema.block) if schema.block and "" not in schedules[_executed(schema)] else ()
        found[name] = function(schema, _body(schema, bool(hints), activations, schedules), opset, hints)
        waiting += own_nodes(found[name])
    return [found[name] for name in SCHEMAS if name in found]


def _executed(schema: OpSchema) -> str:
    """The op that the body of an op ends in: of a composite that owns its gate, the one that is given logits."""
    return composite(schema.block).name if schema.block is not None else schema.name


def _body(schema: OpSchema, adapts: bool, activations: dict[str, set[str]], schedules: dict[str, set[str]]) -> str:
    if schema.block is None:
        return primitive_body(schema.name, set().union(*activations.values(), {"none"}))
    if schema.owns_gate:
        return gated_body(schema, tuple(hint.name for hint in hints_of(schema.block)) if adapts else ())
    if adapts:
        return adaptive_body(schema.block, activations[schema.name], schedules[schema.name])
    return composition(schema.block)


def attach_bodies(
    model: onnx.ModelProto, *, quick: bool = True, schedule: Literal["adaptive", "dense"] | None = None
) -> onnx.ModelProto:
    """Return a copy of the model that carries the bodies it needs, imports the domain and states a fitting IR version.

    Functions of domain ``dyn2trt`` that the model had are replaced.

    Args:
        model: read only.
        quick: composite nodes get a ``schedule``, and with it a body that can also run dense or in bands; otherwise
            they lose it, and bodies are compositions of primitives and nothing else, which is what to inline.
        schedule: overrules the choice by the size of the map, for measuring and testing.

    Raises:
        Dyn2trtError: see `functions_for`.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    nodes = own_nodes(whole)
    for node in nodes:
        kept = [a for a in node.attribute if a.name not in HINT_NAMES]
        del node.attribute[:]
        node.attribute.extend(kept)
    _replace_functions(whole)
    if not nodes:
        return whole
    if all(o.domain != DOMAIN for o in whole.opset_import):
        whole.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    whole.ir_version = max(whole.ir_version, MIN_IR_VERSION)
    if quick:
        composites = [node for node in nodes if SCHEMAS[node.op_type].is_composite]
        for node, hints in zip(composites, node_hints(whole, composites), strict=True):
            given = hints | ({"schedule": schedule} if schedule and hints else {})
            node.attribute.extend(helper.make_attribute(name, value) for name, value in given.items())
        _replace_functions(whole)
    return whole


def _replace_functions(model: onnx.ModelProto) -> None:
    functions = [*(f for f in model.functions if f.domain != DOMAIN), *functions_for(model)]
    del model.functions[:]
    model.functions.extend(functions)


def _values(nodes: Sequence[onnx.NodeProto], attribute: str) -> dict[str, set[str]]:
    """Values of a string attribute by the op executed; the schema's default, or nothing, where a node is silent."""
    values: dict[str, set[str]] = {}
    for node in nodes:
        default = next((a.default for a in SCHEMAS[node.op_type].attributes if a.name == attribute), "")
        given = next((a.s.decode() for a in node.attribute if a.name == attribute), default)
        values.setdefault(_executed(SCHEMAS[node.op_type]), set()).add(given)
    return values


def own_nodes(model: onnx.ModelProto | onnx.FunctionProto) -> list[onnx.NodeProto]:
    """The nodes of domain ``dyn2trt`` of a model's graph or a function, those in subgraphs included."""
    return list(_own_nodes(model.graph.node if isinstance(model, onnx.ModelProto) else model.node))


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
