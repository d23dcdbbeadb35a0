"""Appends standard nodes to a graph under one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from dyn2trt.export.surgery.graph import constant, unique


class Writer:
    """Writes nodes in front of ``before``, or at the end of the graph, and names them ``<prefix>/<op>``.

    Constants are named ``<prefix>.<name>``; one that is there with the same content is used again.
    """

    def __init__(self, graph: ir.Graph, prefix: str, before: ir.Node | None = None) -> None:
        self.graph, self.prefix, self.before = graph, prefix, before
        self.made: dict[str, ir.Value] = {}
        """Initializers of this writer by their names without prefix."""
        self._taken = {str(node.name) for node in graph}

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], outputs: int = 1, **attributes: Any) -> Any:
        """Write a node; returns its output, or the list of them where there are several."""
        attrs = [ir.convenience.convert_attribute(key, value) for key, value in attributes.items()]
        name = unique(f"{self.prefix}/{op_type}", self._taken)
        node = ir.Node("", op_type, inputs, attrs, name=name, num_outputs=outputs)
        for index, output in enumerate(node.outputs):
            output.name = f"{name}.out{index or ''}"
        if self.before is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(self.before, node)
        return node.outputs[0] if outputs == 1 else list(node.outputs)

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        """An initializer ``<prefix>.<name>``."""
        wanted, index = f"{self.prefix}.{name}", 1
        while (present := self.graph.initializers.get(wanted)) is not None:
            assert present.const_value is not None
            other = present.const_value.numpy()
            if other.dtype == array.dtype and np.array_equal(other, array):
                break
            index += 1
            wanted = f"{self.prefix}.{name}_{index}"
        if present is None:
            present = constant(wanted, array)
            self.graph.initializers.add(present)
        self.made[name] = present
        return present

    def integers(self, values: Sequence[int]) -> ir.Value:
        """An initializer of int64, shared by the whole graph."""
        name = "int64_" + "_".join(str(value).replace("-", "m") for value in values)
        return self.shared(name, np.array(values, np.int64))

    def shared(self, name: str, array: np.ndarray) -> ir.Value:
        """An initializer of the whole graph; ``name`` stands for its content and type."""
        if name not in self.graph.initializers:
            self.graph.initializers.add(constant(name, array))
        return self.graph.initializers[name]

    def reshape(self, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        """In ``shape``, 0 keeps the dimension of that place and −1 is what is left."""
        return self.op("Reshape", [x, self.integers(shape)])

    def reshape_to_image(self, y: ir.Value, channels: int, size: tuple[int, int] | None, like: ir.Value) -> ir.Value:
        """[N, ...] → [N, channels, Ho, Wo], with ``size`` or, where that is None, the height and width of ``like``."""
        if size is not None:
            return self.reshape(y, [0, channels, *size])
        grid = self.op("Shape", [like], start=2)
        return self.op("Reshape", [y, self.op("Concat", [self.integers([0, channels]), grid], axis=0)])

    def every(self, x: ir.Value, step: tuple[int, int]) -> ir.Value:
        """Every ``step``-th row and column of ``x``, from the first one on."""
        end = np.iinfo(np.int64).max
        return self.op("Slice", [x, *(self.integers(values) for values in ((0, 0), (end, end), (2, 3), step))])
