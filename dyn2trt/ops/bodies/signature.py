"""Builds a FunctionProto from an op's schema and the text of its body."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.parser

from dyn2trt.contract import DOMAIN, PLUGIN_ATTRIBUTES, VERSION, Attribute, OpSchema

SCHEDULE = Attribute(
    "schedule",
    "string",
    "adaptive",
    "How a composite's body runs: sparse or dense, whichever the mask makes cheaper, or always dense and masked.",
    ("adaptive", "dense"),
)
EXPANDED_CHANNELS = Attribute(
    "expanded_channels", "int", 1, "E of a GatedInvertedResidual: a Conv states its group as an attribute."
)
"""Attributes that ``attach_bodies`` sets for the bodies' sake. No implementation of an op has to know them."""


def function(schema: OpSchema, body: str, opset: int, hints: Sequence[Attribute] = ()) -> onnx.FunctionProto:
    """Return the function: names, attributes and defaults from the schema, nodes from ``body`` (ONNX text syntax)."""
    attributes = ", ".join(
        [
            *map(_declared, (*schema.attributes, *hints)),
            *(f'{name}: string = "{value}"' for name, value in PLUGIN_ATTRIBUTES.items()),
        ]
    )
    inputs, outputs = (", ".join(t.name for t in tensors) for tensors in (schema.inputs, schema.outputs))
    text = (
        f'<domain: "{DOMAIN}", opset_import: ["" : {opset}, "{DOMAIN}" : {VERSION}]>\n'
        f"{schema.name} <{attributes}> ({inputs}) => ({outputs}) {{\n{body}\n}}"
    )
    made = onnx.parser.parse_function(text)
    made.doc_string = schema.doc
    return made


def _declared(attribute: Attribute) -> str:
    match attribute.kind:
        case "string":
            value = f'"{attribute.default}"'
        case "ints":
            value = f"[{', '.join(map(str, attribute.default))}]"
        case _:
            value = str(attribute.default)
    return f"{attribute.name}: {attribute.kind} = {value}"
