"""What every plugin has to do in an engine, checked against float64 on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from core_cases import assert_close
from ops_cases import Case, composite
from plugin_driver import Driver
from plugin_layer import Layer
from torch import Tensor

from dyn2trt.contract import COMPOSITES, SCHEMAS, OpSchema
from dyn2trt.contract.primitives import MASK
from dyn2trt.ops import reference
from dyn2trt.ops.reference_blocks import gate_logits, gated_block

SMALL = (16, 9, 7)
"""Channels, height and width: odd maps, halo at every edge."""
BATCHES = (1, 4, 3)
"""Through one context, of a layer that is configured for the largest."""
HALVES = (torch.float16, torch.bfloat16)
DTYPES = (torch.float32, *HALVES)
LAYOUTS = {"linear": torch.contiguous_format, "channels-last": torch.channels_last}


def combinations() -> list[tuple[OpSchema, torch.dtype, str]]:
    """Every composite in every type and format that its plugin offers."""
    return [(s, d, f) for s in COMPOSITES for d in DTYPES for f in LAYOUTS if d in HALVES or f == "linear"]


class Block:
    """Random inputs of a composite, where they are to run.

    Args:
        n: batch.
        size: channels, height and width.
        seed: of inputs; weights are the same for all.
    """

    def __init__(
        self, schema: OpSchema, dtype: torch.dtype, layout: str, device: str, *, n: int, size=SMALL, seed: int = 0
    ) -> None:
        c, h, w = size
        strides: dict[str, Any] = {"strides": (2, 2)} if schema.block.is_strided else {}
        make = lambda seed: composite(schema.name, n, c, h, w, "blob", seed, more=8, activation="relu", **strides)  # noqa: E731
        given, weights = make(seed), make(0)
        parts = {k: given.tensors[k] if k in ("x", "mask", "identity") else v for k, v in weights.tensors.items()}
        self.case: Case = Case(schema.name, parts, given.attributes).cast(dtype)
        self.schema = schema
        self.inputs = [
            t.to(device).contiguous(
                memory_format=LAYOUTS[layout] if name in ("x", "identity") else torch.contiguous_format
            )
            for name, t in self.case.tensors.items()
        ]

    @property
    def attributes(self) -> dict[str, Any]:
        """As an ONNX node has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self.case.attributes.items()}

    def check(self, outputs: Sequence[Tensor]) -> None:
        """Compare with float64: logits and decisions first, then y under the decisions that were made."""
        given = {spec.name: t for spec, t in zip(self.schema.inputs, self.inputs, strict=True)}
        y, *own = outputs
        if own:
            wide = {k: t.double() for k, t in given.items()}
            exact = gate_logits(self.schema.gate, wide, self.case.attributes.get("strides", (1, 1)))
            torch.testing.assert_close(own[0].double(), exact, atol=1e-5, rtol=1e-5)
            assert ((own[0] >= 0) == (exact >= 0))[exact.abs() > 1e-4].all()
            given[MASK.name] = own[0]
        base = SCHEMAS[f"Gated{self.schema.block.name}"]
        tensors = [given[spec.name] for spec in base.inputs]
        wide_tensors = [t if t is given[MASK.name] else t.double() for t in tensors]
        run = lambda given: gated_block(base, *given, **self.case.attributes)  # noqa: E731
        assert_close(y, run(wide_tensors), run(tensors))


def check_formats(layer: Layer, inputs: Sequence[Tensor]) -> None:
    """Of all formats that TensorRT has the plugin takes linear, and channels-last where no channels are padded.

    A tensor behind another dense one follows it.
    """
    assert all(formats <= {"linear", "channels-last"} for formats in layer.formats)
    specs = [*layer.schema.inputs[: len(inputs)], *layer.schema.outputs]
    dense = [i for i, s in enumerate(specs) if s.type == "T" and len(s.shape) == 4 and s.shape[0] == "N"]
    assert all("channels-last" not in f for i, f in enumerate(layer.formats) if i not in dense)
    if not dense:
        return
    first = inputs[dense[0]] if dense[0] < len(inputs) else None
    offered = first is not None and first.dtype in HALVES and first.shape[1] % 8 == 0
    assert layer.formats[dense[0]] == ({"linear", "channels-last"} if offered else {"linear"})
    for i in dense[1:]:
        assert layer.formats[i] == ({"channels-last"} if layer.last else {"linear"})


def check_block(
    driver: Driver,
    schema: OpSchema,
    dtype: torch.dtype,
    layout: str,
    device: str,
    *,
    batches: Sequence[int] = BATCHES,
    size: tuple[int, int, int] = SMALL,
    stream: AbstractContextManager[Any] | None = None,
    settle: Callable[[], None] = lambda: None,
) -> None:
    """One context through several batches, with the workspace of the largest.

    Args:
        stream: what to enqueue on.
        settle: waits for the device.
    """
    largest = Block(schema, dtype, layout, device, n=max(batches), size=size)
    layer = Layer(driver, schema.name, largest.attributes, largest.inputs)
    assert layer.last == (layout == "channels-last")
    check_formats(layer, largest.inputs)
    context = layer.context(device)
    for seed, n in enumerate(batches):
        block = Block(schema, dtype, layout, device, n=n, size=size, seed=seed)
        outputs = layer.outputs(block.inputs)
        settle()
        with stream or nullcontext():
            context.run(block.inputs, outputs)
        settle()
        block.check(outputs)
    assert context.guards_are_whole()


def check_primitives(driver: Driver, dtype: torch.dtype, device: str, *, depthwise: bool, n: int = 2) -> None:
    """A 3×3 with stride 2 through the three primitives, each a layer of its own, against the same chain in float64."""
    c, h, w = SMALL
    geometry: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    co = c if depthwise else 24
    ho, wo = (h + 1) // 2, (w + 1) // 2
    generator = torch.Generator().manual_seed(4)
    random = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    weight = random(*((3, 3, c) if depthwise else (co, 3, 3, c))) / (3 if depthwise else (9 * c) ** 0.5)
    x, base, bias, mask = random(n, c, h, w), random(n, co, ho, wo), random(co), random(n, 1, ho, wo)
    tensors = [t.to(device, dtype) for t in (x, base, weight, bias)]
    convolution = {**geometry, "group": 0 if depthwise else 1, "activation": "relu"}

    def layer(op: str, attributes: Mapping[str, Any], inputs: list[Tensor]) -> Sequence[Tensor]:
        made = Layer(driver, op, attributes, inputs)
        check_formats(made, inputs)
        context = made.context(device)
        outputs = context.run(inputs, made.outputs(inputs))
        assert context.guards_are_whole()
        return outputs

    gate = mask.to(device)
    sites, _, count, _ = layer("MaskGather", {}, [gate])
    _, slots, _, rows = layer("MaskGather", geometry, [gate, tensors[0]])
    (rows,) = layer("SparseConv", convolution, [rows, tensors[2], tensors[3], slots, sites, count])
    (y,) = layer("MaskScatter", {"activation": "relu6"}, [tensors[1], rows, sites, count])

    def chain(x: Tensor, base: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        sites, _, count, _ = reference.mask_gather(gate)
        _, slots, _, rows = reference.mask_gather(gate, x, **geometry)
        rows = reference.sparse_conv(rows, weight, bias, slots, sites, count, **convolution)
        return reference.mask_scatter(base, rows, sites, count, activation="relu6")

    assert_close(y, chain(*(t.double() for t in tensors)), chain(*tensors))
