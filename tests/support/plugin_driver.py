"""Runs the plugins of a library through the calls that TensorRT makes.

The real library's on tensors of a GPU, the emulated library's on those of the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.int32: 3}
FORMATS = ("linear", "channels-last", "other")


class Field(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int32),
        ("length", ctypes.c_int32),
        ("data", ctypes.c_void_p),
    )


class Described(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int32),
        ("format", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("dims", ctypes.c_int32 * 8),
        ("data", ctypes.c_void_p),
    )


class Driver:
    """One loaded plugin library.

    Args:
        driver: of `emulated_plugins.build_driver`.
        library: of plugins.
        isolated: load it into a namespace of its own, see ``plugin_driver.cpp``; not for a library that uses a GPU.
    """

    def __init__(self, driver: Path, library: Path, *, isolated: bool = True) -> None:
        self._calls = ctypes.CDLL(str(driver))
        for name in ("open", "creator", "create", "deserialize", "clone", "attach"):
            getattr(self._calls, f"driver_{name}").restype = ctypes.c_void_p
        self._calls.driver_configure.restype = ctypes.c_int64
        self._calls.driver_open_error.restype = ctypes.c_char_p
        self._library = ctypes.c_void_p(self._calls.driver_open(str(library).encode(), int(isolated)))
        assert self._library.value, self._calls.driver_open_error()

    def plugin(self, op: str, **attributes: Any) -> Plugin | None:
        """Create a plugin from attributes as the parser passes them; None when the creator refuses."""
        creator = ctypes.c_void_p(self._calls.driver_creator(self._library, op.encode()))
        assert creator.value, op
        fields, alive = (Field * len(attributes))(), []
        for field, (name, value) in zip(fields, attributes.items(), strict=True):
            kind, data = _field_data(value)
            alive.append(data)
            field.name, field.type, field.length = name.encode(), kind, len(data)
            field.data = ctypes.cast(data, ctypes.c_void_p)
        made = self._calls.driver_create(creator, fields, len(attributes))
        return Plugin(self._calls, creator, made) if made else None


def _field_data(value: Any) -> tuple[int, Any]:
    if isinstance(value, str):
        return 2, (ctypes.c_char * len(value.encode()))(*value.encode())
    values = list(value) if isinstance(value, Sequence) else [value]
    if isinstance(values[0], float):
        return 0, (ctypes.c_float * len(values))(*values)
    return 1, (ctypes.c_int32 * len(values))(*values)


class Plugin:
    """One plugin object. ``channels_last`` tensors [N, C, H, W] are described as kHWC8, all others as linear."""

    def __init__(self, calls: ctypes.CDLL, creator: ctypes.c_void_p, address: int) -> None:
        self._calls, self._creator, self._plugin = calls, creator, ctypes.c_void_p(address)

    def __del__(self) -> None:
        self._calls.driver_destroy(self._plugin)

    def _derive(self, address: int) -> Plugin:
        return Plugin(self._calls, self._creator, address)

    def deserialized(self) -> Plugin:
        """Return the plugin that a plan with this one brings back."""
        return self._derive(self._calls.driver_deserialize(self._creator, self._plugin))

    def clone(self) -> Plugin:
        return self._derive(self._calls.driver_clone(self._plugin))

    def attached(self) -> Plugin:
        """Return the plugin of an execution context."""
        return self._derive(self._calls.driver_attach(self._plugin))

    def unsupported(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> int | None:
        """Position of the first tensor whose type or format is not taken, None when all are."""
        position = self._calls.driver_unsupported(self._plugin, *self._described(inputs, outputs))
        return None if position < 0 else position

    def formats(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], position: int) -> set[str]:
        """Of ``linear``, ``channels-last`` and ``other`` those that the tensor at ``position`` may have."""
        taken = self._calls.driver_formats(self._plugin, *self._described(inputs, outputs), position)
        return {name for bit, name in enumerate(FORMATS) if taken & 1 << bit}

    def output_shapes(
        self, inputs: Sequence[torch.Tensor], outputs: int
    ) -> list[tuple[torch.dtype, tuple[int, ...]]] | int:
        """Type and shape of each output, or the step that failed (1 their number, 2 their types, 3 their shapes)."""
        tensors, count, _ = self._described(inputs, [])
        made = (Described * outputs)()
        if failed := self._calls.driver_output_shapes(self._plugin, tensors, count, made, outputs):
            return failed
        dtypes = list(TYPES)
        return [(dtypes[one.type], tuple(one.dims[: one.rank])) for one in made]

    def configure(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> int | None:
        """Bytes of workspace with these tensors as the largest ones, None when the shapes are refused."""
        size = self._calls.driver_configure(self._plugin, *self._described(inputs, outputs))
        return None if size < 0 else size

    def run(
        self,
        inputs: Sequence[torch.Tensor],
        outputs: Sequence[torch.Tensor],
        workspace: torch.Tensor,
        stream: int = 0,
    ) -> int:
        """Enqueue on a stream (its handle); 0, or the step that failed (1 onShapeChange, 2 enqueue)."""
        described, handles = self._described(inputs, outputs), (workspace.data_ptr(), stream)
        return self._calls.driver_run(self._plugin, *described, *map(ctypes.c_void_p, handles))

    def _described(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> tuple[Any, int, int]:
        tensors = (Described * (len(inputs) + len(outputs)))()
        for described, tensor in zip(tensors, [*inputs, *outputs], strict=True):
            last = tensor.dim() == 4 and not tensor.is_contiguous()
            assert tensor.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
            described.type, described.format, described.rank = TYPES[tensor.dtype], int(last), tensor.dim()
            described.dims = (ctypes.c_int32 * 8)(*tensor.shape)
            described.data = tensor.data_ptr()
        return tensors, len(inputs), len(outputs)
