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

from dyn2trt.contract import ACTIVATIONS, COMPOSITES, DOMAIN, PLUGIN_ATTRIBUTES, SCHEMAS, VERSION, OpSchema, Tensor
from dyn2trt.ops.activations import activate
from dyn2trt.ops.bodies import attach_bodies

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

    @property
    def schema(self) -> OpSchema:
        return SCHEMAS[self.op]

    @property
    def threshold(self) -> float:
        return self.attributes.get("threshold", 0.0)

    def cast(self, dtype: torch.dtype) -> Case:
        types = {t.name: dtype if t.type == "T" else torch.float32 for t in self.schema.inputs}
        return Case(self.op, {k: v.to(types[k]) for k, v in self.tensors.items()}, self.attributes)


def composite(
    op: str, n: int, c: int, h: int, w: int, mask: str, seed: int, *, more: int = 2, **attributes: Any
) -> Case:
    """A block with weights that keep activations near unit variance, and ``more`` output channels than input channels.

    A gate that the op owns decides about half of the sites either way, or all alike where ``mask`` says so.
    """
    rng = np.random.default_rng(seed)
    schema = SCHEMAS[op]
    sh, sw = attributes.get("strides", (1, 1))
    sizes: dict[str | int, int] = {"N": n, "C": c, "H": h, "W": w, "Ho": (h - 1) // sh + 1, "Wo": (w - 1) // sw + 1}
    sizes |= {"Co": c + more, "E": 2 * c, "B": c + 3, "G": 5}
    tensors = {}
    for tensor in schema.inputs:
        shape = tuple(sizes.get(size, size) for size in tensor.shape)
        assert all(isinstance(size, int) for size in shape), f"no size for a symbol of {tensor.shape}"
        if tensor.name == "mask":
            values = activity(mask, shape, rng)
        else:
            values = rng.standard_normal(shape) * _fan_in(tensor, shape) ** -0.5
        if schema.owns_gate and tensor == schema.gate.parameters[-1]:  # the bias of (skip, execute), or of the logit
            values += {"nothing": -100, "everything": 100}.get(mask, 0) * np.array([-1, 1])[-len(values) :]
        tensors[tensor.name] = torch.from_numpy(values.astype(np.float32))
    return Case(op, tensors, attributes)


def _fan_in(tensor: Tensor, shape: tuple[int, ...]) -> int:
    """Over how many products a weight's result sums; 1 for anything else."""
    if not tensor.name.endswith("_weight"):
        return 1
    is_depthwise = len(shape) == 3 and tensor.type == "T"
    return int(np.prod(shape[:2] if is_depthwise else shape[1:] if len(shape) in (2, 4) else shape))


@st.composite
def composites(draw: st.DrawFn, ops: tuple[str, ...] = tuple(s.name for s in COMPOSITES)) -> Case:
    op = draw(st.sampled_from(ops))
    attributes: dict[str, Any] = {"activation": draw(st.sampled_from(ACTIVATIONS))}
    if any(attribute.name == "strides" for attribute in SCHEMAS[op].attributes):
        attributes["strides"] = draw(st.sampled_from([(1, 1), (2, 2)]))
    if draw(st.booleans()):
        attributes["threshold"] = 0.25
    size = st.integers(1, 19)
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 17))
    return composite(
        op, n, c, draw(size), draw(size), draw(st.sampled_from(MASKS)), draw(st.integers(0, 99)), **attributes
    )


# The oracle: written by hand from the papers, knowing nothing of dyn2trt's declarations. A new block or gate needs a
# case here.


def gate_logits(case: Case) -> torch.Tensor:
    """What a gate that the op owns says, float64 [N, 1, Ho, Wo]."""
    t = {k: v.double() for k, v in case.tensors.items()}
    x, strides = t["x"], case.attributes.get("strides", (1, 1))
    if case.op.startswith("Pointwise"):
        return F.conv2d(x, t["gate_weight"].reshape(1, -1, 1, 1), t["gate_bias"], stride=strides)
    pooled = x.mean(dim=(2, 3))
    if case.op.startswith("Squeeze"):
        local = F.conv2d(x, t["gate_weight"].permute(2, 0, 1)[None], t["gate_bias"], stride=strides, padding=1)
        return local + (pooled @ t["gate_pooled_weight"] + t["gate_pooled_bias"]).reshape(-1, 1, 1, 1)
    assert case.op.startswith("Layer")
    hidden = (pooled @ t["gate_weight"].T + t["gate_bias"]).clamp(min=0)
    scores = hidden @ t["gate_pooled_weight"].T + t["gate_pooled_bias"]
    like = t.get("identity", x)
    return (scores[:, 1] - scores[:, 0]).reshape(-1, 1, 1, 1).expand(-1, 1, *like.shape[2:])


def masked_dense(case: Case, logits: torch.Tensor | None = None) -> torch.Tensor:
    """The block computed everywhere with torch's own convolutions in float64, then multiplied by the mask.

    Args:
        logits: of a gate that the op owns, as it came to them: near the threshold the last bit decides.
    """
    t = {k: v.double() for k, v in case.tensors.items()}
    decision = case.tensors["mask"] if logits is None else logits
    active = (decision >= case.threshold).double()
    name = case.attributes["activation"]
    strides = case.attributes.get("strides", (1, 1))

    def convolve(x: torch.Tensor, layer: str, **options: Any) -> torch.Tensor:
        return F.conv2d(x, t[f"{layer}_weight"].permute(0, 3, 1, 2), t[f"{layer}_bias"], **options)

    block = case.op.partition("Gated")[2]
    match block:
        case "InvertedResidual":
            y = activate(convolve(t["x"], "expand"), name)
            depthwise = t["depthwise_weight"].permute(2, 0, 1)[:, None]
            y = F.conv2d(y, depthwise, t["depthwise_bias"], padding=1, groups=y.shape[1])
            return t["x"] + active * convolve(activate(y, name), "project")
        case "BasicBlock":
            y = activate(convolve(t["x"], "conv1", stride=strides, padding=1), name)
            return activate(t["identity"] + active * convolve(y, "conv2", padding=1), name)
        case "Bottleneck":
            y = activate(convolve(t["x"], "conv1"), name)
            y = activate(convolve(y, "conv2", stride=strides, padding=1), name)
            return activate(t["identity"] + active * convolve(y, "conv3"), name)
    raise AssertionError(f"no oracle for {block}")


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
    out_types = {t.name: element if t.type == "T" else types[getattr(torch, t.type)] for t in schema.outputs}
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
