"""Each gated block alone: cut out of the network, timed sparse and dense on the activations that really reach it.

A block is cut from its input to its output, gate and identity path included; its dense counterpart has no gate. Both
run as models of their own, so times of blocks do not add up to the network's: fusions across a block's border and warm
caches are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from dyn2trt.bench.record import BlockTiming, NotRun
from dyn2trt.bench.timing.interleave import Budget, interleave
from dyn2trt.bench.timing.latency import speedup, summarise
from dyn2trt.contract import SCHEMAS
from dyn2trt.export.metadata import INPUT, Block
from dyn2trt.export.surgery import dense_twin
from dyn2trt.export.surgery.graph import close_model, gates, open_model
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession


@dataclass(frozen=True)
class BlockModel:
    """One block as a model of its own: input ``entry`` (the name it has in the network), the block's output."""

    block: Block
    entry: str
    model: onnx.ModelProto


class Uncuttable(Exception):
    """The block reads more of the network than its own input."""


def cut_block(model: onnx.ModelProto, index: int, entry: npt.NDArray[Any] | None = None) -> BlockModel:
    """Cut gated block ``index`` out of an exported model.

    Args:
        entry: an activation that reaches the block; its shape and type become the input's, where given.

    Raises:
        Uncuttable: the block reads another value of the network besides its input.
    """
    opened, metadata = open_model(model)
    gate = gates(opened, metadata)[index]
    nodes = [node for node in opened.graph if _belongs(node, gate.block)]
    x = _entry(nodes, gate.logits)
    for value in list(opened.graph.outputs):
        opened.graph.outputs.remove(value)
    y = nodes[-1].outputs[0]
    opened.graph.outputs.append(y)
    # The network's input is read further up only, once the block starts at a value of its own.
    fed = ir.Value(name=x.name, shape=x.shape, type=x.type)
    if entry is not None:
        fed.shape, fed.type = ir.Shape(entry.shape), ir.TensorType(ir.DataType.from_numpy(entry.dtype))
    y.type, y.shape = y.type or fed.type, y.shape or ir.Shape([None] * 4)
    ir.convenience.replace_all_uses_with(x, fed)
    x.name = f"{x.name}_outside"
    inputs = list(opened.graph.inputs)
    opened.graph.inputs.append(fed)
    cut = close_model(opened, replace(metadata, blocks=(gate.block,), masks=(), outputs=()))
    used = {name for node in cut.graph.node for name in node.input}
    if beyond := [value.name for value in inputs if value.name in used]:
        raise Uncuttable(f"{gate.block.name} also reads {', '.join(map(str, beyond))} past its input {fed.name}")
    kept = [value for value in cut.graph.input if value.name == fed.name]
    del cut.graph.input[:]
    cut.graph.input.extend(kept)
    return BlockModel(gate.block, str(fed.name), cut)


def time_blocks(
    model: onnx.ModelProto,
    images: npt.NDArray[np.float32],
    fractions: Mapping[str, float],
    threads: int,
    budget: Budget,
    seed: int = 0,
    on_block: Callable[[str], None] | None = None,
) -> tuple[list[BlockTiming], list[NotRun]]:
    """Time every gated block in ONNX Runtime, each in an interleaved run of its own.

    Args:
        images: batch [N, 3, H, W] that is run through the network for the blocks' inputs.
        fractions: share of active sites of each block on ``images``, by name.
        budget: of one block.
    """
    timings, not_run = [], []
    entries = _entries(model)
    activations = OnnxRuntimeSession(_with_outputs(model, entries.values()), threads).run(
        {INPUT: images}, [name for name in dict.fromkeys(entries.values()) if name != INPUT]
    )
    activations[INPUT] = images
    for index, (name, entry) in enumerate(entries.items()):
        try:
            cut = cut_block(model, index, activations[entry])
        except Uncuttable as reason:
            not_run.append(NotRun(f"block {name}", str(reason)))
            continue
        feed = {cut.entry: activations[entry]}
        sparse, dense = (OnnxRuntimeSession(m, threads) for m in (cut.model, dense_twin(cut.model)))
        times = interleave({"dense": lambda _: dense.time(feed), "sparse": lambda _: sparse.time(feed)}, budget, seed)  # noqa: B023
        timings.append(
            BlockTiming(
                name=name,
                op=cut.block.op,
                site_fraction=fractions[name],
                dense=summarise(times["dense"], len(images)),
                sparse=summarise(times["sparse"], len(images)),
                speedup=speedup(times["dense"], times["sparse"]),
            )
        )
        if on_block is not None:
            on_block(name)
    return timings, not_run


def _belongs(node: ir.Node, block: Block) -> bool:
    """Whether a node of the op contract makes up the block: the composite, or one of its primitives."""
    return node.domain == "dyn2trt" and (node.name == block.name or (node.name or "").startswith(f"{block.name}/"))


def _entry(nodes: list[ir.Node], logits: ir.Value) -> ir.Value:
    """The dense tensor that the block starts from: the first ``x`` of its nodes that is not made of the logits."""
    for node in nodes:
        names = [tensor.name for tensor in SCHEMAS[node.op_type].inputs]
        if "x" in names and len(node.inputs) > names.index("x"):
            x = node.inputs[names.index("x")]
            # Written out in primitives, a block also gathers its mask.
            if x is not None and x is not logits and x.producer() not in nodes:
                return x
    raise Uncuttable(f"no node of {', '.join(str(node.name) for node in nodes) or 'the block'} reads a dense x")


def _entries(model: onnx.ModelProto) -> dict[str, str]:
    """Block → name of its input in the network."""
    opened, metadata = open_model(model)
    return {
        gate.block.name: str(_entry([n for n in opened.graph if _belongs(n, gate.block)], gate.logits).name)
        for gate in gates(opened, metadata)
    }


def _with_outputs(model: onnx.ModelProto, names: Any) -> onnx.ModelProto:
    """The model with further values as outputs; ONNX Runtime infers their types."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    present = {value.name for value in [*tapped.graph.output, *tapped.graph.input]}
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in present)
    return tapped
