"""Names that a reader finds again: nodes by module path, logits and outputs by number, attributes in order."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from dyn2trt.contract import DOMAIN, PLUGIN_ATTRIBUTES, SCHEMAS
from dyn2trt.export.metadata import INPUT, LOGITS_PREFIX
from dyn2trt.export.surgery.graph import gated_nodes, unique

_SCOPES = "pkg.torch.onnx.name_scopes"
_PACKED = "packed_"


def apply_names(model: ir.Model, outputs: Sequence[str]) -> list[tuple[str, str]]:
    """Name everything in a graph that ``torch.onnx`` made, in place.

    - The input is ``x``, the outputs are called as ``outputs`` says; where something else in the graph, or another
      output, has that name, with a number behind it.
    - A gated node has the module path of its block, any other node its module's path and op: ``fc.0/Conv``. A value
      has the name of its node and ``.out``.
    - The logits of the i-th gated node, its output where it owns its gate, else its input, are ``logits{i}``.
    - Weights keep their names in the state dict; those of gated blocks end in the name of the op's input.
    - Attributes of a gated node are in the schema's order, and torch's notes, which hold file paths, go.

    Returns:
        Name and logits of each gated node, in execution order.
    """
    graph = model.graph
    _name_nodes(graph)
    graph.inputs[0].name = INPUT
    for name in [name for name in graph.initializers if _PACKED in name]:
        graph.initializers[name].name = name.replace(_PACKED, "")
    gates = _name_logits(model)
    _name_outputs(graph, outputs)
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        _order_attributes(node)
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
        if value.const_value is not None:
            value.const_value.doc_string = None
    graph.metadata_props.clear()
    graph.doc_string = None
    model.metadata_props.clear()
    model.doc_string = None
    return gates


def _name_nodes(graph: ir.Graph) -> None:
    taken: set[str] = set()
    for node in graph:
        path = _module_path(node.metadata_props)
        op = "" if node.domain == DOMAIN else node.op_type
        node.name = unique("/".join(part for part in (path, op) if part) or node.op_type, taken)
    # Values take new names only after every old one is known not to clash with them.
    for index, value in enumerate(output for node in graph for output in node.outputs):
        value.name = f"__{index}"
    for node in graph:
        for index, value in enumerate(node.outputs):
            value.name = f"{node.name}.out{index or ''}"


def _module_path(notes: Mapping[str, str]) -> str:
    """``['', 'hg.0', 'hg.0.hg.3.0', 'add_3']`` → ``hg.0.hg.3.0``: the last is torch's name of the node itself."""
    scopes = ast.literal_eval(notes.get(_SCOPES, "['']"))
    return scopes[-2] if len(scopes) > 1 else ""


def _name_logits(model: ir.Model) -> list[tuple[str, str]]:
    graph = model.graph
    gates = []
    for index, node in enumerate(gated_nodes(model)):
        name = f"{LOGITS_PREFIX}{index}"
        schema = SCHEMAS[node.op_type]
        if schema.owns_gate:
            node.outputs[1].name = name
            gates.append((str(node.name), name))
            continue
        position = schema.input_index("mask")
        logits = node.inputs[position]
        assert logits is not None
        if logits.producer() is None or str(logits.name).startswith(LOGITS_PREFIX):
            # Logits that two blocks share, or that come straight from the input, get a name each all the same.
            copy = ir.Node("", "Identity", [logits], name=f"{node.name}/Identity", num_outputs=1)
            copy.outputs[0].type, copy.outputs[0].shape = logits.type, logits.shape
            graph.insert_before(node, copy)
            node.replace_input_with(position, copy.outputs[0])
            logits = copy.outputs[0]
        logits.name = name
        gates.append((str(node.name), name))
    return gates


def _name_outputs(graph: ir.Graph, names: Sequence[str]) -> None:
    seen: set[ir.Value] = set()
    taken = {str(value.name) for node in graph for value in node.outputs} | set(graph.initializers)
    for index, (wanted, value) in enumerate(zip(names, list(graph.outputs), strict=True)):
        name = unique(wanted, taken)
        if value.producer() is None or value in seen or str(value.name).startswith(LOGITS_PREFIX):
            copy = ir.Node("", "Identity", [value], name=f"{name}/Identity", num_outputs=1)
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            graph.append(copy)
            value = graph.outputs[index] = copy.outputs[0]
        seen.add(value)
        value.name = name


def _order_attributes(node: ir.Node) -> None:
    order = [a.name for a in SCHEMAS[node.op_type].attributes] if node.domain == DOMAIN else []
    names = [*order, *sorted(node.attributes.keys() - {*order, *PLUGIN_ATTRIBUTES})]
    names += [name for name in PLUGIN_ATTRIBUTES if name in node.attributes]
    attributes = [node.attributes[name] for name in names]
    node.attributes.clear()
    for attribute in attributes:
        node.attributes.add(attribute)
