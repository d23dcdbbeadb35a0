"""Runs an exported ONNX file on torch tensors: nodes of dyn2trt through the plugins, all others through torch.

Not a product's runtime: it shows what a file and the plugins do together, node attributes, layouts and optional inputs
included, where there is no TensorRT. On a GPU all of it goes into one CUDA graph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import onnx
import torch
from onnx import helper
from onnx_torch_ops import DTYPES, OPS, to_torch
from plugin_driver import Driver
from plugin_layer import Context, Layer, is_channels_last, is_dense
from torch import Tensor

from dyn2trt.contract import DOMAIN, PLUGIN_ATTRIBUTES, SCHEMAS
from dyn2trt.errors import Dyn2trtError

Tensors = dict[str, Tensor]
_VECTOR = 8
"""Channels of kHWC8."""


class Executor:
    """An ONNX model made ready for feeds up to a largest one.

    Args:
        model: with composites or primitives at the top level of its graph; function bodies are not looked at.
        driver: of the plugins, emulated ones for tensors on the CPU.
        largest: inputs by name at the largest batch; their device is where everything runs. They are run once.
        poison: fill what plugins are to write with NaNs before; False for measurements.

    Raises:
        Dyn2trtError: the model holds ops that the executor does not know; it names all of them.
    """

    def __init__(
        self, model: onnx.ModelProto, driver: Driver, largest: Mapping[str, Tensor], *, poison: bool = True
    ) -> None:
        self._driver, self._nodes, self._poison = driver, list(model.graph.node), poison
        self._outputs = [output.name for output in model.graph.output]
        self._device = next(iter(largest.values())).device
        _check_ops(self._nodes)
        # Factors, like int64, are read by the host.
        self._of_host = {name for node in self._nodes if node.op_type == "Resize" for name in node.input[1:]}
        self._constants = {
            t.name: to_torch(t, "cpu" if t.name in self._of_host else self._device) for t in model.graph.initializer
        }
        halves = any(t.element_size() == 2 for t in self._constants.values())
        self._memory_format = torch.channels_last if halves else torch.preserve_format
        self._inputs = {
            value.name: DTYPES[value.type.tensor_type.elem_type]
            for value in model.graph.input
            if value.name not in self._constants
        }
        self._attributes = [_attributes(node) for node in self._nodes]
        self._of_shapes = _of_shapes(self._nodes, set(self._constants))
        self._largest = {name: list(tensor.shape) for name, tensor in largest.items()}
        self._layers: dict[int, tuple[Layer, Context]] = {}
        self.run(largest)

    @property
    def layers(self) -> list[Layer]:
        """Of the plugins, in execution order."""
        return [layer for layer, _ in self._layers.values()]

    def run(self, feed: Mapping[str, Tensor]) -> Tensors:
        """Outputs by name, enqueued on the current stream.

        Raises:
            Dyn2trtError: an input is missing, of another type or larger than the largest.
        """
        return self._run(feed, {})

    def guards_are_whole(self) -> bool:
        """Whether no plugin has written outside its workspace."""
        return all(context.guards_are_whole() for _, context in self._layers.values())

    def captured(self, feed: Mapping[str, Tensor]) -> Captured:
        """Capture a run on these tensors into a CUDA graph."""
        return Captured(self, feed)

    def _run(self, feed: Mapping[str, Tensor], fixed: Tensors) -> Tensors:
        """``fixed`` holds what depends on shapes alone: what it lacks is added, what it has is not computed again."""
        self._check(feed)
        laid_out = {k: t.to(memory_format=self._memory_format) if t.dim() == 4 else t for k, t in feed.items()}
        values: dict[str, Tensor] = {**self._constants, **laid_out, **fixed}
        for index, node in enumerate(self._nodes):
            if all(name in values for name in node.output if name):
                continue
            inputs = [values[name] if name else None for name in node.input]
            try:
                given = self._plugin(index, node, inputs) if node.domain == DOMAIN else self._standard(index, inputs)
            except (RuntimeError, AssertionError) as error:
                raise Dyn2trtError(f"node {node.name or index} ({node.op_type}) fails: {error}") from error
            for name, tensor in zip(node.output, given, strict=False):
                values[name] = tensor
                if name in self._of_shapes:
                    fixed[name] = tensor
        return {name: values[name] for name in self._outputs}

    def _check(self, feed: Mapping[str, Tensor]) -> None:
        for name, dtype in self._inputs.items():
            came = feed[name].dtype if name in feed else "nothing"
            if came != dtype:
                raise Dyn2trtError(f"input {name} is {dtype}, came {came}; give {', '.join(self._inputs)}")
            most, shape = self._largest[name], list(feed[name].shape)
            if len(shape) != len(most) or any(size > limit for size, limit in zip(shape, most, strict=True)):
                raise Dyn2trtError(f"input {name} is at most {most}, came {shape}; make an executor for the largest")

    def _standard(self, index: int, inputs: list[Tensor | None]) -> tuple[Tensor, ...]:
        result = OPS[self._nodes[index].op_type](self._attributes[index], *inputs)
        results = result if isinstance(result, tuple) else (result,)
        if self._nodes[index].op_type not in ("Constant", "ConstantOfShape"):
            return results
        stays = self._of_host.intersection(self._nodes[index].output)
        return tuple(t if stays or t.dtype == torch.int64 else t.to(self._device) for t in results)

    def _plugin(self, index: int, node: onnx.NodeProto, inputs: list[Tensor | None]) -> list[Tensor]:
        schema = SCHEMAS[node.op_type]
        given = [tensor for tensor in inputs if tensor is not None]
        if len(given) != len(inputs):
            raise Dyn2trtError(f"node {node.name} leaves an input out that others follow; plugins take no such call")
        dense = [spec for spec, _ in zip(schema.inputs, given, strict=False) if is_dense(spec)]
        linear = [t.contiguous() for t in given]
        last = [
            t.contiguous(memory_format=torch.channels_last) if is_dense(spec) else straight
            for spec, t, straight in zip(schema.inputs, given, linear, strict=False)
        ]
        wanted = dense and all(
            t.element_size() == 2 and t.shape[1] % _VECTOR == 0
            for spec, t in zip(schema.inputs, given, strict=False)
            if is_dense(spec)
        )
        given = last if wanted and is_channels_last(schema, last) else linear
        if index not in self._layers:
            layer = Layer(self._driver, node.op_type, self._attributes[index], given)
            self._layers[index] = layer, layer.context(self._device)
        layer, context = self._layers[index]
        return list(context.run(given, layer.outputs(given, poison=self._poison)))


class Captured:
    """A run of an executor as one CUDA graph: `replay` reads the feed's tensors anew and writes ``outputs``."""

    def __init__(self, executor: Executor, feed: Mapping[str, Tensor]) -> None:
        stream, fixed = torch.cuda.Stream(), {}
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            for _ in range(2):  # loads kernels, lets cuDNN choose, learns what depends on shapes alone
                executor._run(feed, fixed)
        torch.cuda.synchronize()
        self._graph, self._alive = torch.cuda.CUDAGraph(), (feed, fixed)
        with torch.cuda.graph(self._graph, stream=stream):
            self.outputs = executor._run(feed, fixed)

    def replay(self) -> None:
        """Launch it on the current stream; does not wait."""
        self._graph.replay()


def _check_ops(nodes: list[onnx.NodeProto]) -> None:
    missing: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        known = SCHEMAS if node.domain == DOMAIN else OPS if node.domain in ("", "ai.onnx") else {}
        if node.op_type not in known:
            missing[f"{node.domain}::{node.op_type}" if node.domain else node.op_type].append(node.name)
    if missing:
        listed = "; ".join(f"{op} ({', '.join(names[:3])})" for op, names in missing.items())
        raise Dyn2trtError(f"the executor has no {listed}; standard ops belong into tests/support/onnx_torch_ops.py")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """As Python values; of a node of dyn2trt those that its schema names, which are all that the parser passes on."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    values = {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}
    if node.domain != DOMAIN:
        return values
    for name, wanted in PLUGIN_ATTRIBUTES.items():
        if values.get(name) != wanted:
            raise Dyn2trtError(
                f"node {node.name}: {name} is {values.get(name)!r}, expected {wanted!r}; export it again"
            )
    known = {attribute.name for attribute in SCHEMAS[node.op_type].attributes}
    return {name: value for name, value in values.items() if name in known}


def _of_shapes(nodes: list[onnx.NodeProto], constants: set[str]) -> set[str]:
    """Values that depend on the shapes of the inputs alone, not on what is in them."""
    known = set(constants)
    for node in nodes:
        if node.domain != DOMAIN and (node.op_type == "Shape" or known.issuperset(filter(None, node.input))):
            known.update(node.output)
    return known - constants
