"""The plugins of the CUDA library on a GPU without TensorRT, driven as it drives them, against float64.

cmake --preset release && cmake --build --preset release && pytest -m gpu tests/plugins/test_plugin_gpu.py
"""

from __future__ import annotations

import pytest
import torch
from gpu_plugins import gpu_driver, why_no_gpu_plugins
from plugin_checks import BATCHES, DTYPES, Block, check_block, check_primitives, combinations
from plugin_layer import Layer

from dyn2trt.contract import COMPOSITES

_REASON = why_no_gpu_plugins()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(_REASON is not None, reason=str(_REASON))]

WIDE = (128, 20, 33)
"""Channels, height and width at which the fused kernels run where they are chosen by measured shapes."""
by_name = pytest.mark.parametrize("schema", COMPOSITES, ids=lambda schema: schema.name)


@pytest.fixture(scope="module")
def driver():
    return gpu_driver()


def on_a_stream() -> torch.cuda.StreamContext:
    return torch.cuda.stream(torch.cuda.Stream())


@pytest.mark.parametrize("size", [None, WIDE], ids=["small", "wide"])
@pytest.mark.parametrize(
    ("schema", "dtype", "layout"), combinations(), ids=lambda value: getattr(value, "name", str(value))
)
def test_block(driver, schema, dtype, layout, size):
    """Every type and format that is offered, batches up to the profile's largest on one context."""
    given = {} if size is None else {"size": size}
    settle = torch.cuda.synchronize
    check_block(driver, schema, dtype, layout, "cuda", stream=on_a_stream(), settle=settle, **given)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("depthwise", [False, True], ids=["full", "depthwise"])
def test_primitives(driver, depthwise, dtype):
    check_primitives(driver, dtype, "cuda", depthwise=depthwise)


@by_name
def test_padded_channels_are_not_offered_channels_last(driver, schema):
    block = Block(schema, torch.float16, "linear", "cuda", n=1, size=(12, 5, 4))
    layer = Layer(driver, schema.name, block.attributes, block.inputs)
    assert all("channels-last" not in formats for formats in layer.formats)


@by_name
def test_two_contexts_on_two_streams(driver, schema):
    """They run side by side, each in its own workspace, and give the same every time."""
    blocks = [Block(schema, torch.float16, "channels-last", "cuda", n=n, size=WIDE, seed=n) for n in (4, 3)]
    layer = Layer(driver, schema.name, blocks[0].attributes, blocks[0].inputs)
    contexts, streams = [layer.context("cuda") for _ in blocks], [torch.cuda.Stream() for _ in blocks]
    rounds = [[layer.outputs(block.inputs) for _ in range(10)] for block in blocks]
    torch.cuda.synchronize()
    for turn in range(10):
        for block, context, stream, outputs in zip(blocks, contexts, streams, rounds, strict=True):
            with torch.cuda.stream(stream):
                context.run(block.inputs, outputs[turn])
    torch.cuda.synchronize()
    for block, context, outputs in zip(blocks, contexts, rounds, strict=True):
        block.check(outputs[0])
        assert all(torch.equal(a, b) for again in outputs for a, b in zip(again, outputs[0], strict=True))
        assert context.guards_are_whole()


@by_name
def test_in_a_cuda_graph(driver, schema):
    """Captured once and replayed on other inputs: no host decides anything, and nothing is allocated."""
    static = Block(schema, torch.float16, "channels-last", "cuda", n=max(BATCHES))
    layer = Layer(driver, schema.name, static.attributes, static.inputs)
    context, outputs, stream = layer.context("cuda"), layer.outputs(static.inputs), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        context.run(static.inputs, outputs)  # loads the kernels
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        context.run(static.inputs, outputs)
    for seed in range(1, 4):
        other = Block(schema, torch.float16, "channels-last", "cuda", n=max(BATCHES), seed=seed)
        for target, source in zip(static.inputs, other.inputs, strict=True):
            target.copy_(source)
        for output in outputs:
            output.fill_(torch.nan)
        graph.replay()
        torch.cuda.synchronize()
        other.check(outputs)
    assert context.guards_are_whole()
