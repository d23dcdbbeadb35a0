"""A plugin as an engine holds it: made, asked, saved and run in the order in which TensorRT does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from plugin_driver import Driver, Plugin
from torch import Tensor

from dyn2trt.contract import SCHEMAS, OpSchema

GUARD = 1000
"""Bytes on both sides of a workspace; no multiple of what kernels align to, for TensorRT promises no alignment."""
_PATTERN = 0xAB


class Layer:
    """A plugin configured for its largest inputs, and brought back from a plan.

    Args:
        op: name of the op.
        attributes: as the ONNX node has them.
        largest: its inputs at the largest batch. Their memory format decides that of the layer's dense tensors.

    Raises:
        AssertionError: a step that TensorRT would go through fails; the message names op and step.
    """

    def __init__(self, driver: Driver, op: str, attributes: Mapping[str, Any], largest: Sequence[Tensor]) -> None:
        self.schema: OpSchema = SCHEMAS[op]
        plugin = driver.plugin(op, **attributes)
        assert plugin is not None, f"{op}: the creator refuses {dict(attributes)}"
        self._shapes = plugin
        self.last = is_channels_last(self.schema, largest)
        outputs = self.outputs(largest)
        wrong = plugin.unsupported(largest, outputs)
        assert wrong is None, f"{op}: tensor {wrong} is not taken as it is"
        self.formats = [plugin.formats(largest, outputs, i) for i in range(len(largest) + len(outputs))]
        size = plugin.configure(largest, outputs)
        assert size is not None, f"{op}: configurePlugin refuses {[tuple(t.shape) for t in largest]}"
        self.workspace_bytes = size
        self._plan = plugin.clone().deserialized()

    def outputs(self, inputs: Sequence[Tensor], *, poison: bool = True) -> list[Tensor]:
        """Make tensors for the outputs, in the types and shapes that the plugin says, of NaNs or absurd integers.

        Args:
            poison: False leaves what is in the memory, for measurements.
        """
        shapes = self._shapes.output_shapes(inputs, len(self.schema.outputs))
        assert isinstance(shapes, list), f"{self.schema.name}: no shapes of outputs, step {shapes}"
        device = inputs[0].device
        return [
            _empty(shape, dtype, device, last=self.last and is_dense(spec), poison=poison)
            for spec, (dtype, shape) in zip(self.schema.outputs, shapes, strict=True)
        ]

    def context(self, device: torch.device | str) -> Context:
        """Return a context of its own, with its own workspace on the device."""
        return Context(self._plan.attached(), self, device)


class Context:
    """A layer in an execution context. What it is given has to live until the stream has come by."""

    def __init__(self, plugin: Plugin, layer: Layer, device: torch.device | str) -> None:
        self._plugin, self._layer = plugin, layer
        size = layer.workspace_bytes
        self._memory = torch.full((GUARD + size + GUARD,), _PATTERN, dtype=torch.uint8, device=device)
        self._workspace = self._memory[GUARD : GUARD + size]

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Enqueue on torch's current stream of the inputs' device.

        Raises:
            AssertionError: onShapeChange or enqueue fails.
        """
        stream = torch.cuda.current_stream().cuda_stream if inputs[0].is_cuda else 0
        step = self._plugin.run(inputs, outputs, self._workspace, stream)
        assert step == 0, f"{self._layer.schema.name}: {'onShapeChange' if step == 1 else 'enqueue'} fails"
        return outputs

    def guards_are_whole(self) -> bool:
        """Whether nothing was written outside the workspace; waits for the device."""
        before, behind = self._memory[:GUARD], self._memory[GUARD + self._layer.workspace_bytes :]
        return bool((before == _PATTERN).all()) and bool((behind == _PATTERN).all())


def is_channels_last(schema: OpSchema, inputs: Sequence[Tensor]) -> bool:
    """Whether dense inputs lie channels-last and cannot be taken for linear."""
    dense = [t for spec, t in zip(schema.inputs, inputs, strict=False) if is_dense(spec)]
    return bool(dense) and not any(t.is_contiguous() for t in dense)


def is_dense(spec: Any) -> bool:
    """Of [N, C, H, W] in the type of the block; weights have four axes too, but never one called N."""
    return spec.type == "T" and len(spec.shape) == 4 and spec.shape[0] == "N"


def _empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, *, last: bool, poison: bool) -> Tensor:
    memory_format = torch.channels_last if last else torch.contiguous_format
    tensor = torch.empty(shape, dtype=dtype, device=device, memory_format=memory_format)
    return tensor.fill_(-7777 if dtype == torch.int32 else torch.nan) if poison else tensor
