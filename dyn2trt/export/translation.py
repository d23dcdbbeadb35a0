"""How ``torch.onnx`` writes the ops of domain ``dyn2trt``: one node each, every attribute spelt out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import onnx
import torch
from onnx.defs import OpSchema as OnnxSchema
from onnxscript.values import Op, Opset

import dyn2trt.ops  # noqa: F401  registers the ops
from dyn2trt.contract import DOMAIN, PLUGIN_ATTRIBUTES, SCHEMAS, VERSION, OpSchema, Tensor

_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "bfloat16": "tensor(bfloat16)"}
_TYPES["int32"] = "tensor(int32)"
_FLOATS = [_TYPES[name] for name in ("float32", "float16", "bfloat16")]
_KINDS = {
    "int": onnx.AttributeProto.INT,
    "ints": onnx.AttributeProto.INTS,
    "float": onnx.AttributeProto.FLOAT,
    "string": onnx.AttributeProto.STRING,
}


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """``custom_translation_table`` for ``torch.onnx.export``."""
    opset = Opset(DOMAIN, VERSION)
    return {
        getattr(torch.ops.dyn2trt, schema.torch_name).default: partial(
            _emit, schema, Op(opset, schema.name, onnx_schema(schema))
        )
        for schema in SCHEMAS.values()
    }


def _emit(schema: OpSchema, op: Op, *tensors: Any, **attributes: Any) -> Any:
    complete = {k: list(v) if isinstance(v, tuple) else v for k, v in schema.complete(attributes).items()}
    return op(*tensors, **complete, **PLUGIN_ATTRIBUTES)


def onnx_schema(schema: OpSchema) -> OnnxSchema:
    """The op's schema in ONNX's own terms."""
    option = OnnxSchema.FormalParameterOption

    def parameters(tensors: tuple[Tensor, ...]) -> list[OnnxSchema.FormalParameter]:
        return [
            OnnxSchema.FormalParameter(
                t.name,
                _TYPES.get(t.type, t.type),
                t.doc,
                param_option=option.Optional if t.optional else option.Single,
            )
            for t in tensors
        ]

    attributes = [(a.name, a.kind, a.default, a.doc) for a in schema.attributes]
    attributes += [
        (name, "string", value, "Lets TensorRT choose the plugin.") for name, value in PLUGIN_ATTRIBUTES.items()
    ]
    return OnnxSchema(
        schema.name,
        DOMAIN,
        VERSION,
        schema.doc,
        inputs=parameters(schema.inputs),
        outputs=parameters(schema.outputs),
        type_constraints=[("T", _FLOATS, "Floating point.")],
        attributes=[
            OnnxSchema.Attribute(name, onnx.helper.make_attribute(name, default, attr_type=_KINDS[kind]), doc)
            for name, kind, default, doc in attributes
        ],
    )
