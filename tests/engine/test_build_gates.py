"""Networks that skip layers or let positions halt become engines whose blocks are plugins, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from dyn2trt.blocks import InvertedResidual
from dyn2trt.contract import DOMAIN
from dyn2trt.engine import BuildOptions, build_engine
from dyn2trt.export import export_network
from dyn2trt.export.surgery import dense_twin, inline_composites, with_decision_outputs
from dyn2trt.networks.zoo import build_network

pytestmark = [pytest.mark.tensorrt, pytest.mark.usefixtures("emulated_plugins_library")]

CASES: dict[str, dict[str, Any]] = {
    "cifar_convnet_aig": {"depth": 8, "width": 0.5},
    "cifar_sact": {"depth": 14, "width": 0.5},
}
"""The zoo's name → options. The ImageNet networks, of bottlenecks, are built in test_build_recipes.py."""


@pytest.mark.parametrize(("batch", "precision"), [(1, "fp32"), (4, "fp16")])
@pytest.mark.parametrize("name", CASES)
def test_every_gated_block_is_a_plugin(tmp_path: Path, name: str, batch: int, precision: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(name, CASES[name]).eval()
    shape = (batch, 3, 32, 32)
    metadata = export_network(network, input_shape=shape, path=tmp_path / "model.onnx", precision=precision)
    model = onnx.load(tmp_path / "model.onnx")
    blocks = tuple(block.name for block in metadata.blocks)
    assert blocks
    decided = with_decision_outputs(model)
    variants = [(model, blocks), (decided, blocks), (inline_composites(model), blocks), (dense_twin(model), ())]
    for variant, expected in variants:
        onnx.save(variant, tmp_path / "model.onnx")
        quick = BuildOptions(optimization_level=0)
        passport = build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", quick)
        assert passport.precision == precision
        assert passport.gated_blocks.as_plugins == passport.gated_blocks.expected == expected
        assert passport.layers.plugin == sum(node.domain == DOMAIN for node in variant.graph.node)
        assert list(passport.outputs) == [output.name for output in variant.graph.output]
        if variant is decided:
            masks = [border.dtype for name, border in passport.outputs.items() if name.startswith("mask")]
            assert masks == ["bool"] * len(blocks)


def test_a_dense_twin_in_bf16_has_no_hard_swish_that_the_parser_refuses(tmp_path: Path) -> None:
    block = InvertedResidual(8, 8, activation="hard_swish")
    path = tmp_path / "model.onnx"
    export_network(
        nn.Sequential(nn.Conv2d(3, 8, 1), block).eval(), input_shape=(1, 3, 8, 8), path=path, precision="bf16"
    )
    model = onnx.load(path)
    for primitive in (False, True):
        twin = dense_twin(inline_composites(model) if primitive else model)
        onnx.checker.check_model(twin, full_check=True)
        assert [node.op_type for node in twin.graph.node].count("HardSwish") == 2
        onnx.save(twin, path)
        assert build_engine(path, tmp_path / "model.plan", BuildOptions(optimization_level=0)).precision == "bf16"
