"""The checks of `test_plugin_gpu` over the emulated plugins: that they work, on a few cases, and can fail."""

from __future__ import annotations

import emulated_plugins
import pytest
import torch
from plugin_checks import Block, check_block, check_primitives, combinations
from plugin_driver import Driver
from plugin_layer import GUARD, Layer

from dyn2trt.contract import SCHEMAS

TINY = (8, 4, 3)


@pytest.fixture(scope="module")
def driver(plugins_path):
    return Driver(emulated_plugins.build_driver(), plugins_path)


def test_every_plugin_type_and_format_is_there():
    assert len(combinations()) == 12 * 5


@pytest.mark.parametrize(
    ("op", "dtype", "layout"),
    [
        ("GatedInvertedResidual", torch.float16, "channels-last"),
        ("SqueezeGatedBasicBlock", torch.float32, "linear"),
        ("LayerGatedBottleneck", torch.bfloat16, "channels-last"),
    ],
)
def test_block(driver, op, dtype, layout):
    check_block(driver, SCHEMAS[op], dtype, layout, "cpu", batches=(1, 2), size=TINY)


@pytest.mark.parametrize("depthwise", [False, True])
def test_primitives(driver, depthwise):
    check_primitives(driver, torch.float16, "cpu", depthwise=depthwise, n=1)


def test_padded_channels_are_not_offered_channels_last(driver):
    block = Block(SCHEMAS["GatedInvertedResidual"], torch.float16, "linear", "cpu", n=1, size=(12, 4, 3))
    layer = Layer(driver, "GatedInvertedResidual", block.attributes, block.inputs)
    assert layer.formats[0] == {"linear"}


def test_checks_can_fail(driver):
    block = Block(SCHEMAS["PointwiseGatedBasicBlock"], torch.float32, "linear", "cpu", n=1, size=TINY)
    layer = Layer(driver, block.schema.name, block.attributes, block.inputs)
    context = layer.context("cpu")
    y, logits = context.run(block.inputs, layer.outputs(block.inputs))
    block.check((y, logits))
    with pytest.raises(AssertionError):
        block.check((y, logits + 1e-3))
    y.view(-1)[0] += 1
    with pytest.raises(AssertionError):
        block.check((y, logits))
    for position in (GUARD - 1, GUARD + layer.workspace_bytes):
        whole = layer.context("cpu")
        whole._memory[position] = 0
        assert not whole.guards_are_whole()
    fewer = [t[:, :4].contiguous() if i == 0 else t for i, t in enumerate(block.inputs)]
    with pytest.raises(AssertionError, match="onShapeChange fails"):
        context.run(fewer, [y, logits])
