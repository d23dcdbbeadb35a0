"""Which buffers an engine needs for given inputs: names, shapes, types and bytes. No GPU is touched here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dyn2trt.errors import Dyn2trtError


@dataclass(frozen=True)
class Binding:
    """One input or output of an engine at a concrete shape; linear format, so ``bytes`` is exact."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def resolve_bindings(
    trt: Any, engine: Any, context: Any, inputs: Mapping[str, npt.NDArray[Any]], plan: str
) -> list[Binding]:
    """Set the input shapes on ``context`` and return every binding of ``engine``, inputs first.

    Args:
        trt: the TensorRT module.
        inputs: one array per input of the engine, of the engine's type.
        plan: the plan's name, for messages.

    Raises:
        Dyn2trtError: an input is missing, unknown, of another type, or of a shape that the engine does not serve.
    """
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    wanted = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    if set(wanted) != set(inputs):
        raise Dyn2trtError(
            f"{plan} has inputs {', '.join(wanted)}, the benchmark feeds {', '.join(inputs)}; "
            "pass the plan that was built from the matching ONNX file"
        )
    bindings = []
    for name in wanted:
        dtype, came = np.dtype(trt.nptype(engine.get_tensor_dtype(name))), inputs[name]
        if came.dtype != dtype:
            raise Dyn2trtError(f"{plan}: input {name} is {dtype}, the benchmark feeds {came.dtype}")
        if not context.set_input_shape(name, came.shape):
            low, _, high = (tuple(dims) for dims in engine.get_tensor_profile_shape(name, 0))
            raise Dyn2trtError(
                f"{plan}: input {name} of shape {_shown(came.shape)} outside [{_shown(low)}, {_shown(high)}]; "
                f"rebuild with --min-shapes and --max-shapes that hold {name}:{_shown(came.shape)}"
            )
        bindings.append(Binding(name, True, came.shape, dtype))
    if unresolved := context.infer_shapes():
        raise Dyn2trtError(f"{plan}: TensorRT needs more than the input shapes to size {', '.join(unresolved)}")
    for name in names:
        if name in wanted:
            continue
        shape = tuple(context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise Dyn2trtError(f"{plan}: the size of output {name} depends on the data, which this benchmark lacks")
        bindings.append(Binding(name, False, shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name)))))
    return bindings


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
