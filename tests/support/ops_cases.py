"""Cases of the ops' tests: random blocks and masks, masked dense references, one-node models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from onnx import helper

from dyn2trt.contract import ACTIVATIONS, DOMAIN, SCHEMAS, VERSION
from dyn2trt.ops.bodies import attach_bodies
from dyn2trt.ops.bodies.signature import PLUGIN_ATTRIBUTES
from dyn2trt.ops.reference import activate

MASKS = ("nothing", "everything", "one site", "corners", "border", "scattered", "blob", "whole images")


def activity(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Gate logits float32 [N, 1, H, W] of the given kind; a few active ones are exactly at the threshold, zero."""
    n, _, h, w = shape
    active = np.zeros(shape, bool)
    match kind:
        case "everything":
            active[:] = True
        case "one site":
            active[rng.integers(n), 0, rng.integers(h), rng.integers(w)] = True
        case "corners":
            active[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] = True
        case "border":
            active[:, :, [0, -1]] = active[:, :, :, [0, -1]] = True
        case "scattered":
            active = rng.random(shape) < 0.15
        case "whole images":
            active[rng.random(n) < 0.5] = True
        case "blob":
            y, x = np.ogrid[:h, :w]
            active[:] = (y - rng.integers(h)) ** 2 + (x - rng.integers(w)) ** 2 < (max(h, w) / 4) ** 2
    logits = rng.exponential(size=shape) * rng.integers(0, 4, size=shape).clip(0, 1)
    return np.where(active, logits, -logits - 1e-3).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A composite op with its inputs, by name in the schema's order, and its attributes."""

    op: str
    tensors: dict[str, torch.Tensor]
    attributes: dict[str, Any]

    def cast(self, dtype: torch.dtype) -> Case:
        tensors = {k: v if k == "mask" else v.to(dtype) for k, v in self.tensors.items()}
        return Case(self.op, tensors, self.attributes)


def composite(op: str, n: int, c: int, h: int, w: int, mask: str, seed: int, **attributes: Any) -> Case:
    """A block with weights that keep activations near unit variance."""
    rng = np.random.default_rng(seed)
    sh, sw = attributes.get("strides", (1, 1))
    ho, wo = (h - 1) // sh + 1, (w - 1) // sw + 1
    middle, out = c + 3, (c if op == "GatedInvertedResidual" else c + 2)
    shapes: dict[str, tuple[int, ...]] = {"x": (n, c, h, w), "identity": (n, out, ho, wo)}
    match op:
        case "GatedInvertedResidual":
            layers = {"expand": (2 * c, 1, 1, c), "depthwise": (3, 3, 2 * c), "project": (c, 1, 1, 2 * c)}
        case "GatedBasicBlock":
            layers = {"conv1": (out, 3, 3, c), "conv2": (out, 3, 3, out)}
        case _:
            layers = {"conv1": (middle, 1, 1, c), "conv2": (middle, 3, 3, middle), "conv3": (out, 1, 1, middle)}
    for name, shape in layers.items():
        shapes[f"{name}_weight"] = shape
        shapes[f"{name}_bias"] = shape[-1:] if name == "depthwise" else shape[:1]
    fan = {name: 9 if name == "depthwise" else int(np.prod(shape[1:])) for name, shape in layers.items()}
    tensors = {}
    for tensor in SCHEMAS[op].inputs:
        if tensor.name == "mask":
            values = activity(mask, (n, 1, ho, wo), rng)
        else:
            scale = fan[tensor.name[:-7]] ** -0.5 if tensor.name.endswith("_weight") else 1
            values = (rng.standard_normal(shapes[tensor.name]) * scale).astype(np.float32)
        tensors[tensor.name] = torch.from_numpy(values)
    return Case(op, tensors, attributes)


@st.composite
def composites(draw: st.DrawFn, ops: tuple[str, ...] = tuple(SCHEMAS)[3:]) -> Case:
    op = draw(st.sampled_from(ops))
    attributes: dict[str, Any] = {"activation": draw(st.sampled_from(ACTIVATIONS))}
    if op != "GatedInvertedResidual":
        attributes["strides"] = draw(st.sampled_from([(1, 1), (2, 2)]))
    if draw(st.booleans()):
        attributes["threshold"] = 0.25
    size = st.integers(1, 19)
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 17))
    return composite(
        op, n, c, draw(size), draw(size), draw(st.sampled_from(MASKS)), draw(st.integers(0, 99)), **attributes
    )


def masked_dense(case: Case) -> torch.Tensor:
    """The block computed everywhere with torch's own convolutions in float64, then multiplied by the mask."""
    t = {k: v.double() for k, v in case.tensors.items()}
    active = (case.tensors["mask"] >= case.attributes.get("threshold", 0.0)).double()
    name = case.attributes["activation"]
    strides = case.attributes.get("strides", (1, 1))

    def convolve(x: torch.Tensor, layer: str, **options: Any) -> torch.Tensor:
        return F.conv2d(x, t[f"{layer}_weight"].permute(0, 3, 1, 2), t[f"{layer}_bias"], **options)

    match case.op:
        case "GatedInvertedResidual":
            y = activate(convolve(t["x"], "expand"), name)
            depthwise = t["depthwise_weight"].permute(2, 0, 1)[:, None]
            y = F.conv2d(y, depthwise, t["depthwise_bias"], padding=1, groups=y.shape[1])
            return t["x"] + active * convolve(activate(y, name), "project")
        case "GatedBasicBlock":
            y = activate(convolve(t["x"], "conv1", stride=strides, padding=1), name)
            return activate(t["identity"] + active * convolve(y, "conv2", padding=1), name)
        case _:
            y = activate(convolve(t["x"], "conv1"), name)
            y = activate(convolve(y, "conv2", stride=strides, padding=1), name)
            return activate(t["identity"] + active * convolve(y, "conv3"), name)


def run_torch(op: str, tensors: dict[str, torch.Tensor | None], attributes: dict[str, Any]) -> Any:
    return getattr(torch.ops.dyn2trt, SCHEMAS[op].torch_name)(*tensors.values(), **attributes)


def one_node_model(
    op: str, tensors: dict[str, torch.Tensor], attributes: dict[str, Any], *, dynamic: bool = False, **how: Any
) -> onnx.ModelProto:
    """A model of one node with its body; weights and biases are initializers, the rest are graph inputs."""
    schema = SCHEMAS[op]
    types = {
        torch.float32: onnx.TensorProto.FLOAT,
        torch.float16: onnx.TensorProto.FLOAT16,
        torch.bfloat16: onnx.TensorProto.BFLOAT16,
        torch.int32: onnx.TensorProto.INT32,
    }
    names = [t.name for t in schema.inputs]
    outputs = [t.name for t in schema.outputs]
    element = types[tensors[next(t.name for t in schema.inputs if t.type == "T")].dtype]
    out_types = {t.name: element if t.type == "T" else onnx.TensorProto.INT32 for t in schema.outputs}
    ranks = {t.name: len(t.shape) for t in schema.outputs}
    node = helper.make_node(
        op, names, outputs, name="block", domain=DOMAIN, **PLUGIN_ATTRIBUTES, **schema.complete(attributes)
    )
    inputs, constants = [], []
    for name, value in tensors.items():
        if name.endswith(("weight", "bias")):
            raw = value.contiguous().view(torch.int16 if value.element_size() == 2 else value.dtype).numpy().tobytes()
            constants.append(helper.make_tensor(name, types[value.dtype], value.shape, raw, raw=True))
        else:
            shape = [f"{name}{i}" if dynamic and i != 1 else d for i, d in enumerate(value.shape)]
            inputs.append(helper.make_tensor_value_info(name, types[value.dtype], shape))
    results = [helper.make_tensor_value_info(o, out_types[o], [f"{o}{i}" for i in range(ranks[o])]) for o in outputs]
    graph = helper.make_graph([node], "one_node", inputs, results, constants)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, VERSION)]
    return attach_bodies(helper.make_model(graph, opset_imports=imports, ir_version=10), **how)


def run_onnx(model: onnx.ModelProto, tensors: dict[str, torch.Tensor]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: tensors[i.name].numpy() for i in session.get_inputs()})
