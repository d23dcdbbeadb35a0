"""Gates that composites own in exported files: where they are, what they say, and how surgeries take them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from dyn2trt.blocks import BasicBlock, Bottleneck, InvertedResidual, set_execution
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.export import export_network
from dyn2trt.export.exporter import check
from dyn2trt.export.surgery import (
    dense_twin,
    inline_composites,
    with_decision_outputs,
    with_forced_masks,
    with_logit_outputs,
    with_overruled_gates,
)
from dyn2trt.gates import PointwiseMaskUnit, forced_masks, record_decisions
from dyn2trt.networks.zoo import build_network

UNITS = ("pointwise", "squeeze", "layer")


class Blocks(nn.Module):
    """One block of each kind, a strided one among them, behind a stem."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(
            InvertedResidual(8, 8, mask_unit=unit),
            BasicBlock(8, 16, stride=2, mask_unit=unit),
            Bottleneck(16, 4, mask_unit=unit),
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


def build(unit: str) -> nn.Module:
    torch.manual_seed(1)
    network = Blocks(unit).eval()
    for block in network.blocks:  # logits about zero, so that sites and images differ
        for parameter in block.masker.parameters():
            nn.init.normal_(parameter, std=0.5)
    return network


IMAGES = torch.randn(4, 3, 11, 14, generator=torch.Generator().manual_seed(0))


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    check(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def gated(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.domain == DOMAIN]


def exported(network: nn.Module, folder: Path, **options) -> onnx.ModelProto:
    export_network(network, input_shape=tuple(IMAGES.shape), path=folder / "model.onnx", **options)
    return onnx.load(folder / "model.onnx")


def close(got: np.ndarray, wanted: Tensor, allowed: float = 1e-5) -> bool:
    expected = wanted.numpy()
    return bool(np.linalg.norm(got - expected) <= allowed * max(1.0, float(np.linalg.norm(expected))))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_nothing_that_only_serves_a_gate_is_left_in_the_pose_network(tmp_path, precision):
    network = build_network("hourglass", {"stacks": 1, "features": 16}).eval()
    path = tmp_path / "model.onnx"
    metadata = export_network(network, input_shape=(1, 3, 64, 64), path=path, precision=precision)
    model = onnx.load(path)
    assert gated(model) == ["PointwiseGatedInvertedResidual"] * len(metadata.blocks)
    ops = Counter(node.op_type for node in model.graph.node)
    assert ops["Cast"] == (0 if precision == "fp32" else 2)  # at the network's own borders
    ungated = sum(
        isinstance(m, nn.Conv2d)
        for m in build_network("hourglass", {"stacks": 1, "features": 16, "mask_unit": "none"}).modules()
    )
    assert ops["Conv"] == ungated - 3 * len(metadata.blocks)
    assert not [node.name for node in model.graph.node if "masker" in node.name]
    reads = {name for node in model.graph.node if node.domain == "" for name in node.input}
    assert not [name for name in reads if ".masker." in name or name.startswith("logits")]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("unit", UNITS)
@torch.no_grad()
def test_the_file_is_the_network(tmp_path, unit, dynamic):
    network = build(unit)
    model = exported(network, tmp_path, dynamic_batch=dynamic, dynamic_size=dynamic)
    name = unit.capitalize()
    assert gated(model) == [f"{name}GatedInvertedResidual", f"{name}GatedBasicBlock", f"{name}GatedBottleneck"]
    with record_decisions(network) as decisions:
        y = network(IMAGES)
    for variant in (model, inline_composites(model)):
        got = run(with_logit_outputs(with_decision_outputs(variant)), x=IMAGES.numpy())
        assert close(got["out0"], y)
        for index, decision in enumerate(decisions):
            assert close(got[f"logits{index}"], decision.logits)
            assert (got[f"mask{index}"] == decision.mask.bool().numpy()).all()
        decided = np.concatenate([got[f"mask{index}"].flatten() for index in range(3)])
        assert 0 < decided.mean() < 1
    set_execution(network, "dense")
    twin = dense_twin(model)
    assert gated(twin) == []
    assert close(run(twin, x=IMAGES.numpy())["out0"], network(IMAGES))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("unit", UNITS)
@torch.no_grad()
def test_surgeries_take_the_gate_out(tmp_path, unit, precision):
    network = build(unit)
    model = exported(network, tmp_path, precision=precision)
    with record_decisions(network) as decisions:
        network(IMAGES)
    masks = [torch.rand(d.mask.shape, generator=torch.Generator().manual_seed(2)) < 0.5 for d in decisions]
    with forced_masks(network, masks):
        y = network(IMAGES)
    fed = [(2 * mask.float() - 1).numpy() for mask in masks]
    plain = ["GatedInvertedResidual", "GatedBasicBlock", "GatedBottleneck"]
    allowed = 1e-5 if precision == "fp32" else 1e-2

    forced = with_forced_masks(model)
    assert gated(forced) == plain
    assert not [node.name for node in forced.graph.node if "/gate/" in node.name]
    assert close(run(forced, x=IMAGES.numpy(), **{f"logits{i}": v for i, v in enumerate(fed)})["out0"], y, allowed)

    overruled = with_overruled_gates(model)
    assert gated(overruled) == plain
    named = [node.name for node in overruled.graph.node if node.domain == DOMAIN]
    assert named == [node.name for node in model.graph.node if node.domain == DOMAIN]
    assert {node.name.partition("/gate/")[0] for node in overruled.graph.node if "/gate/" in node.name} == set(named)
    schedules = [[a.s for a in node.attribute if a.name == "schedule"] for node in overruled.graph.node if node.domain]
    assert schedules == [[b"dense"]] * 3  # what the bodies were told is not lost
    got = run(overruled, x=IMAGES.numpy(), **{f"forced{i}": v for i, v in enumerate(fed)})
    assert close(got["out0"], y, allowed)
    assert close(got["logits0"], decisions[0].logits, allowed)  # the first gate sees what it saw


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("unit", UNITS)
def test_gate_weights_stay_float32(tmp_path, unit, precision):
    model = exported(build(unit), tmp_path, precision=precision)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.domain == DOMAIN:
            schema = SCHEMAS[node.op_type]
            for tensor, name in zip(schema.inputs, node.input, strict=True):
                if tensor in schema.gate.parameters:
                    assert types[name] == onnx.TensorProto.FLOAT
                    assert name == f"{node.name}.masker.{tensor.name}"


@pytest.mark.parametrize("unit", UNITS)
@torch.no_grad()
def test_gates_of_a_half_precision_file_compute_in_float32(tmp_path, unit):
    block = build(unit).blocks[0]
    x = torch.randn(2, 8, 9, 7, generator=torch.Generator().manual_seed(3)).half().float()  # float16 holds it exactly
    path = tmp_path / "model.onnx"
    export_network(block, input_shape=tuple(x.shape), path=path, precision="fp16")
    got = run(with_logit_outputs(onnx.load(path)), x=x.numpy())
    assert close(got["logits0"], block.masker(x)[0], 1e-6)


class Own(PointwiseMaskUnit):
    """Of a user: what it computes is not ours to guess."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, mask = super().forward(x)
        return -logits, 1 - mask


@torch.no_grad()
def test_what_the_contract_does_not_know_stays_outside(tmp_path):
    network = build("pointwise")
    network.blocks[0].masker = Own(8)
    network.blocks[1].masker.maskconv = nn.Conv2d(8, 1, 5, 2, 2)
    model = exported(network.eval(), tmp_path)
    assert gated(model) == ["GatedInvertedResidual", "GatedBasicBlock", "PointwiseGatedBottleneck"]
    assert close(run(model, x=IMAGES.numpy())["out0"], network(IMAGES))


@pytest.mark.parametrize("unit", UNITS)
@torch.no_grad()
def test_sparse_execution_in_torch_owns_the_gate_unless_somebody_watches(unit, monkeypatch):
    network = build(unit)
    expected = network(IMAGES)
    with record_decisions(network) as masked:
        network(IMAGES)
    called: list[nn.Module] = []
    kind = type(network.blocks[0].masker)
    # Of the class: a unit with a forward of its own may decide anything, and so its block's op does not own it.
    monkeypatch.setattr(kind, "forward", partialmethod(seen, called, kind.forward))
    for prepared in (network, fold_batchnorm(network, tuple(IMAGES.shape))):
        set_execution(prepared, "sparse")
        called.clear()
        assert torch.allclose(prepared(IMAGES), expected, atol=1e-4)
        assert not called
        with record_decisions(prepared) as decisions:
            assert torch.allclose(prepared(IMAGES), expected, atol=1e-4)
        assert len(called) == len(decisions) == 3
        assert all(torch.equal(ours.mask, theirs.mask) for ours, theirs in zip(decisions, masked, strict=True))


@torch.no_grad()
def test_a_unit_with_a_forward_of_its_own_stays_outside(tmp_path):
    network = build("pointwise").eval()
    unit = network.blocks[0].masker
    original = unit.forward
    unit.forward = lambda x: tuple(
        part * sign + shift for part, sign, shift in zip(original(x), (-1, -1), (0, 1), strict=True)
    )
    model = exported(network, tmp_path)
    assert gated(model)[0] == "GatedInvertedResidual"
    assert close(run(model, x=IMAGES.numpy())["out0"], network(IMAGES))


def seen(unit: nn.Module, called: list[nn.Module], forward: Callable[..., Any], x: Tensor) -> Any:
    called.append(unit)
    return forward(unit, x)
