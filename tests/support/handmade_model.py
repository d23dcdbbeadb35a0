"""A small gated ONNX model written by hand, with one block of each kind, for tests that need no network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from dyn2trt.contract import DOMAIN, VERSION
from dyn2trt.export.metadata import Block, ExportMetadata, write_metadata

SHAPE = (2, 3, 12, 10)
WIDTH, EXPANDED, STAGE = 8, 24, 12

METADATA = ExportMetadata(
    version="0.0.0",
    network="handmade",
    options={"width": WIDTH},
    checkpoint=None,
    seed=0,
    precision="fp32",
    ops="composite",
    input_shape=SHAPE,
    dynamic_axes=(0,),
    size_multiple=1,
    outputs=("out0", "out1"),
    masks=(),
    blocks=(
        Block("stage.0", "GatedInvertedResidual", "logits0", (12, 10), 80640, 408, 264),
        Block("stage.1", "GatedBasicBlock", "logits1", (6, 5), 64800, 1296, 864),
        Block("stage.2", "GatedBottleneck", "logits2", (6, 5), 7200, 192, 48),
    ),
    macs_gated=152640,
    macs_ungated=50000,
    task="pose",
)


class Handmade:
    """The model (`proto`), and its masked and dense outputs by torch (`reference`)."""

    def __init__(self, dtype: type = np.float32) -> None:
        self.random = np.random.default_rng(3)
        self.weights: dict[str, np.ndarray] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.steps: list[Callable[[dict[str, torch.Tensor], bool], None]] = []
        self.dtype = dtype
        self._stem()
        self._gate(0, "x0", WIDTH)
        self._block("stage.0", "GatedInvertedResidual", ["x0", "logits0"], "x1", self._inverted_residual())
        self._projection()
        self._gate(1, "identity", STAGE)
        self._block("stage.1", "GatedBasicBlock", ["x1", "logits1", "identity"], "x2", self._basic(), strides=[2, 2])
        self._gate(2, "x2", STAGE)
        self._block("stage.2", "GatedBottleneck", ["x2", "logits2", "x2"], "out1", self._bottleneck())
        self._standard("Relu", ["x1"], "out0")

    def proto(self) -> onnx.ModelProto:
        """Composites, without bodies."""
        values = [
            helper.make_tensor_value_info(f"logits{i}", TensorProto.FLOAT, ["N", 1, *block.grid])
            for i, block in enumerate(METADATA.blocks)
        ]
        graph = helper.make_graph(
            self.nodes,
            "handmade",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE[1:]])],
            [
                helper.make_tensor_value_info("out0", TensorProto.FLOAT, ["N", WIDTH, 12, 10]),
                helper.make_tensor_value_info("out1", TensorProto.FLOAT, ["N", STAGE, 6, 5]),
            ],
            [numpy_helper.from_array(v, k) for k, v in self.weights.items()],
            value_info=values,
        )
        imports = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, VERSION)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10, producer_name="handmade")
        write_metadata(model, METADATA)
        return model

    def reference(self, x: np.ndarray, *, dense: bool = False) -> dict[str, np.ndarray]:
        """Every value by name; ``dense`` leaves the masks out."""
        values = {"x": torch.from_numpy(x)}
        for step in self.steps:
            step(values, dense)
        return {name: value.numpy() for name, value in values.items()}

    def _w(self, name: str, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        self.weights[name] = (self.random.normal(size=shape) / np.sqrt(fan_in)).astype(self.dtype)
        return name

    def _standard(self, op: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{output}", **attributes))
        self.steps.append(lambda v, _: v.update({output: F.relu(v[inputs[0]])}))

    def _conv(self, x: str, output: str, weight: str, bias: str, name: str, stride: int = 1, pad: int = 0) -> None:
        self.nodes.append(
            helper.make_node("Conv", [x, weight, bias], [output], name=name, strides=[stride] * 2, pads=[pad] * 4)
        )
        w, b = (torch.from_numpy(self.weights[k]) for k in (weight, bias))
        self.steps.append(lambda v, _: v.update({output: F.conv2d(v[x], w, b, stride, pad)}))

    def _stem(self) -> None:
        self._conv("x", "x0", self._w("stem.weight", WIDTH, 3, 3, 3), self._w("stem.bias", WIDTH), "stem", pad=1)

    def _projection(self) -> None:
        weights = self._w("down.weight", STAGE, WIDTH, 1, 1), self._w("down.bias", STAGE)
        self._conv("x1", "identity", *weights, "down", stride=2)

    def _gate(self, index: int, x: str, channels: int) -> None:
        weights = self._w(f"gate{index}.weight", 1, channels, 1, 1), self._w(f"gate{index}.bias", 1)
        self._conv(x, f"logits{index}", *weights, f"stage.{index}.gate")

    def _inverted_residual(self) -> list[str]:
        return [
            self._w("expand.weight", EXPANDED, 1, 1, WIDTH),
            self._w("expand.bias", EXPANDED),
            self._w("depthwise.weight", 3, 3, EXPANDED),
            self._w("depthwise.bias", EXPANDED),
            self._w("project.weight", WIDTH, 1, 1, EXPANDED),
            self._w("project.bias", WIDTH),
        ]

    def _basic(self) -> list[str]:
        return [
            self._w("basic.conv1.weight", STAGE, 3, 3, WIDTH),
            self._w("basic.conv1.bias", STAGE),
            self._w("basic.conv2.weight", STAGE, 3, 3, STAGE),
            self._w("basic.conv2.bias", STAGE),
        ]

    def _bottleneck(self) -> list[str]:
        return [
            self._w("bottle.conv1.weight", 4, 1, 1, STAGE),
            self._w("bottle.conv1.bias", 4),
            self._w("bottle.conv2.weight", 4, 3, 3, 4),
            self._w("bottle.conv2.bias", 4),
            self._w("bottle.conv3.weight", STAGE, 1, 1, 4),
            self._w("bottle.conv3.bias", STAGE),
        ]

    def _block(
        self, name: str, op: str, inputs: list[str], output: str, weights: list[str], **attributes: object
    ) -> None:
        self.nodes.append(
            helper.make_node(
                op,
                [*inputs, *weights],
                [output],
                name=name,
                domain=DOMAIN,
                plugin_namespace=DOMAIN,
                plugin_version=str(VERSION),
                **attributes,
            )
        )
        arrays = [torch.from_numpy(self.weights[k]) for k in weights]
        convolutions = list(zip(arrays[0::2], arrays[1::2], strict=True))
        stride = attributes.get("strides", [1, 1])[0]

        def run(v: dict[str, torch.Tensor], dense: bool) -> None:
            x, mask = v[inputs[0]], v[inputs[1]]
            identity = v[inputs[2]] if len(inputs) > 2 else x
            act = F.relu6 if op == "GatedInvertedResidual" else F.relu
            y = x
            for index, (w, b) in enumerate(convolutions):
                depthwise = w.ndim == 3
                w = w.permute(2, 0, 1)[:, None] if depthwise else w.permute(0, 3, 1, 2)
                strided = index == {"GatedBasicBlock": 0, "GatedBottleneck": 1}.get(op, -1)
                y = F.conv2d(y, w, b, stride if strided else 1, w.shape[2] // 2, groups=w.shape[0] if depthwise else 1)
                y = act(y) if index < len(convolutions) - 1 else y
            y = identity + (y if dense else y * (mask >= 0))
            v[output] = y if op == "GatedInvertedResidual" else F.relu(y)

        self.steps.append(run)


def noise(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
