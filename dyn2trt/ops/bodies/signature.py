"""Builds a FunctionProto from an op's schema and the text of its body."""

from __future__ import annotations

import onnx
import onnx.parser

from dyn2trt.ops.schema import DOMAIN, VERSION, Attribute, OpSchema

PLUGIN_ATTRIBUTES = {"plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}
"""Attributes that make TensorRT's parser look for a plugin; ONNX Runtime ignores them."""


def function(schema: OpSchema, body: str, opset: int) -> onnx.FunctionProto:
    """Return the function: names, attributes and defaults from the schema, nodes from ``body`` (ONNX text syntax)."""
    attributes = ", ".join(
        [*map(_declared, schema.attributes), *(f'{name}: string = "{v}"' for name, v in PLUGIN_ATTRIBUTES.items())]
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


def call(results: str, op: str, arguments: str, **attributes: str) -> str:
    """One line of body text: a call of another op of the domain, carrying the plugin attributes.

    ``attributes`` are texts in ONNX syntax with their type, such as ``kernel_shape="ints = [3, 3]"``.
    """
    texts = {**{k: f'string = "{v}"' for k, v in PLUGIN_ATTRIBUTES.items()}, **attributes}
    listed = ", ".join(f"{name}: {text}" for name, text in texts.items())
    return f"{results} = {DOMAIN}.{op} <{listed}> ({arguments})"
