"""The ONNX parser's refusal in words: which node, what it says, what is registered, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.engine.creators import Creator, registered_creators, wanted_creator, why_unmet
from dyn2trt.engine.trt import flavour, reasons

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Refusal:
    """One entry of the parser's error list."""

    node_name: str
    operator: str
    description: str
    functions: tuple[tuple[str, str], ...]
    """Node name and op of every function body that the node is in, outermost first."""

    @property
    def top(self) -> tuple[str, str]:
        """Name and op of the node of the graph that the refused one belongs to."""
        return self.functions[0] if self.functions else (self.node_name, self.operator)


def read_refusals(parser: Any) -> list[Refusal]:
    """Return the parser's errors."""
    return [_refusal(parser.get_error(index)) for index in range(parser.num_errors)]


def _refusal(error: Any) -> Refusal:
    frames = (re.fullmatch(r"(.*) \((.*)\)", frame) for frame in error.local_function_stack())
    functions = tuple((frame[1], frame[2]) for frame in frames if frame)
    return Refusal(error.node_name(), error.node_operator(), error.desc(), functions)


def explain_refusals(
    trt: ModuleType, refusals: list[Refusal], model: onnx.ModelProto, path: Path, library: str | None, lines: list[str]
) -> str:
    """Write the message for a model that the parser refused.

    Args:
        library: the plugin library that was loaded, None if none was.
        lines: TensorRT's own error lines, where plugin creators say what they found wrong.
    """
    title = f"TensorRT {trt.__version__} cannot import {path}:"
    creators = registered_creators(trt.get_plugin_registry())
    seen: dict[str, None] = {}
    for refusal in refusals:
        seen.setdefault(_explain(trt, refusal, model, creators, library))
    plugin_lines = [line for line in lines if line.startswith(f"{DOMAIN}::")]
    return f"{title}{''.join(seen)}{reasons(plugin_lines if refusals else lines)}"


def _explain(
    trt: ModuleType, refusal: Refusal, model: onnx.ModelProto, creators: list[Creator], library: str | None
) -> str:
    name, operator = refusal.top
    node = _find(model, name, operator)
    description = " ".join(refusal.description.split())
    text = f"\n  node {name or '(unnamed)'}, op {_op_name(node, operator)}"
    if refusal.functions:
        inside = " in ".join(["", *(op for _, op in reversed(refusal.functions))])
        text += f", in its function body at {refusal.operator}{inside if len(refusal.functions) > 1 else ''}"
    text += f"\n  parser: {description}"
    if node is not None and (node.domain not in ("", "ai.onnx") or operator in SCHEMAS):
        return text + why_unmet(wanted_creator(node), creators, library)
    if "Plugin not found" in description or "No importer registered" in description:
        wanted = wanted_creator(node) if node is not None else Creator("", operator, "1")
        return text + why_unmet(wanted, creators, library)
    other = "TensorRT-RTX" if flavour(trt) == "tensorrt_rtx" else "TensorRT"
    return text + f"\n  this {other} does not take the node as it is: change the network there, or try a newer {other}"


def _op_name(node: onnx.NodeProto | None, operator: str) -> str:
    return f"{node.domain}::{operator}" if node is not None and node.domain else operator


def _find(model: onnx.ModelProto, name: str, operator: str) -> onnx.NodeProto | None:
    same_op = [node for node in model.graph.node if node.op_type == operator]
    return next((node for node in same_op if node.name == name), same_op[0] if same_op else None)
