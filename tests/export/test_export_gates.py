"""ConvNet-AIG and SACT as ONNX files: every kind of ops, free and forced gates, and layers that do not run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from gated_baselines import NETWORKS, build, images
from torch import nn

from dyn2trt.blocks import BasicBlock, set_execution
from dyn2trt.contract import DOMAIN
from dyn2trt.export import export_network
from dyn2trt.export.exporter import check
from dyn2trt.export.metadata import Precision, read_metadata
from dyn2trt.export.surgery import (
    dense_twin,
    inline_composites,
    with_decision_outputs,
    with_forced_masks,
    with_overruled_gates,
)
from dyn2trt.gates import LayerMaskUnit, forced_masks, record_decisions

ALL = tuple(NETWORKS)
CIFAR = tuple(name for name in NETWORKS if name.startswith("cifar"))


def session_of(model: onnx.ModelProto | Path, **options: object) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    for key, value in options.items():
        setattr(settings, key, value)
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto | Path, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = session_of(model)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def error(got: np.ndarray, wanted: torch.Tensor) -> float:
    expected = wanted.numpy()
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def exported(
    folder: Path, name: str, batch: int, precision: Precision = "fp32"
) -> tuple[nn.Module, torch.Tensor, Path]:
    """A network, a batch of images, and the file that the network is exported to for it."""
    network, x, path = build(name), images(name, batch), folder / "model.onnx"
    export_network(network, input_shape=tuple(x.shape), path=path, precision=precision)
    return network, x, path


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_every_kind_of_ops_is_torch(tmp_path: Path, name: str, dynamic: bool) -> None:
    network, path = build(name), tmp_path / "model.onnx"
    x = images(name, 4)
    larger = torch.randn(2, 3, x.shape[2] + 7, x.shape[3] + 16)
    shape = (1 if dynamic else 4, 3, *x.shape[2:])
    metadata = export_network(network, input_shape=shape, path=path, dynamic_batch=dynamic, dynamic_size=dynamic)
    assert {block.gate for block in metadata.blocks} == {"layer" if "aig" in name else "halting"}
    composite = onnx.load(path)
    kinds = {"composite": composite, "primitive": inline_composites(composite), "dense": dense_twin(composite)}
    for ops, model in kinds.items():
        assert read_metadata(model).ops == ops
        check(model)
        set_execution(network, "dense" if ops == "dense" else "masked")
        for images_ in (x, larger) if dynamic else (x,):
            assert error(run(model, x=images_.numpy())["out0"], network(images_)) < 1e-5, ops


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_fp16(tmp_path: Path, name: str) -> None:
    """With the masks of fp32 forced: a gate that fp16 flips by right would show in the output."""
    network, x, path = exported(tmp_path, name, 3, precision="fp16")
    with record_decisions(network) as decisions:
        y = network(x)
    fed = {f"logits{i}": (2 * d.mask - 1).numpy() for i, d in enumerate(decisions)}
    assert error(run(with_forced_masks(onnx.load(path)), x=x.numpy(), **fed)["out0"], y) < 4e-3


@pytest.mark.parametrize("name", CIFAR)
@torch.no_grad()
def test_forced_masks_mean_the_same_in_torch_and_in_the_file(tmp_path: Path, name: str) -> None:
    network, x, path = exported(tmp_path, name, 3)
    with record_decisions(network) as decisions:
        network(x)
    shapes = [d.mask.shape for d in decisions]
    generator = torch.Generator().manual_seed(0)
    cases = {
        "any": [torch.rand(shape, generator=generator) < 0.5 for shape in shapes],
        "whole images": [(torch.rand(shape[0], 1, 1, 1, generator=generator) < 0.5).expand(shape) for shape in shapes],
        "nothing": [torch.zeros(shape, dtype=torch.bool) for shape in shapes],
        "everything": [torch.ones(shape, dtype=torch.bool) for shape in shapes],
    }
    forced, overruled = with_forced_masks(onnx.load(path)), with_overruled_gates(onnx.load(path))
    for kind, masks in cases.items():
        with forced_masks(network, masks):
            y = network(x)
        values = [(2 * mask.float() - 1).numpy() for mask in masks]
        fed = {f"logits{i}": value for i, value in enumerate(values)}
        assert error(run(forced, x=x.numpy(), **fed)["out0"], y) < 1e-5, kind
        fed = {f"forced{i}": value for i, value in enumerate(values)}
        assert error(run(overruled, x=x.numpy(), **fed)["out0"], y) < 1e-5, kind
    set_execution(network, "dense")
    assert error(run(dense_twin(forced), x=x.numpy())["out0"], network(x)) < 1e-5


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_masks_are_those_of_torch(tmp_path: Path, name: str) -> None:
    network, x, path = exported(tmp_path, name, 4)
    with record_decisions(network) as decisions:
        network(x)
    masks = run(with_decision_outputs(onnx.load(path)), x=x.numpy())
    stages: dict[str, list[np.ndarray]] = {}
    for i, d in enumerate(decisions):
        assert (masks[f"mask{i}"] == d.mask.bool().numpy()).all(), d.block
        stages.setdefault(d.block.rpartition(".")[0], []).append(masks[f"mask{i}"])
    if "aig" in name:
        means = np.array([masks[f"mask{i}"].mean(axis=(1, 2, 3)) for i in range(len(decisions))])
        assert set(means.flat) == {0.0, 1.0}, "a layer runs for a whole image or not at all"
        assert any(0 < row.mean() < 1 for row in means), "images do not differ, so the batch shows nothing"
    else:
        nested = [later <= earlier for s in stages.values() for earlier, later in itertools.pairwise(s)]
        assert all(step.all() for step in nested)
        assert any(0 < mask.mean() < 1 for s in stages.values() for mask in s)


@pytest.mark.parametrize("name", CIFAR)
def test_the_dense_twin_has_no_gate_left(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.onnx"
    metadata = export_network(build(name), input_shape=(2, 3, 32, 32), path=path)
    twin = dense_twin(onnx.load(path))
    assert {node.domain for node in twin.graph.node} == {""}
    kinds = {node.op_type for node in twin.graph.node}
    assert not kinds & {"GreaterOrEqual", "Where"}
    ungated = metadata.macs_gated + metadata.macs_ungated
    if "sact" in name:  # scores weigh the outputs of units, so they go on
        assert "Sigmoid" in kinds
        ungated += metadata.macs_gates
    assert read_metadata(twin).macs_ungated == ungated


class OneLayer(nn.Module):
    """A block large enough for ONNX Runtime to skip where its gate says so."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.block = BasicBlock(64, 64, mask_unit="layer")
        assert isinstance(self.block.masker, LayerMaskUnit)
        self.block.masker.open(logit)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)


@pytest.mark.parametrize("logit", [1.0, -1.0], ids=["executes", "skips"])
def test_a_layer_that_is_skipped_does_not_run(tmp_path: Path, logit: float) -> None:
    """By ONNX Runtime's own record of the nodes that ran: no convolution or product of the branch, or all of them."""
    network = OneLayer(logit).eval()
    path = tmp_path / "model.onnx"
    export_network(network, input_shape=(1, 64, 56, 56), path=path)
    session = session_of(path, enable_profiling=True, profile_file_prefix=str(tmp_path / "profile"))
    x = torch.randn(1, 64, 56, 56)
    (y,) = session.run(None, {"x": x.numpy()})
    with torch.no_grad():
        assert error(y, network(x)) < 1e-5
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [event["args"] for event in events if event.get("cat") == "Node" and "op_name" in event.get("args", {})]
    work = 0
    for node in ran:
        if node["op_name"] in ("Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "NhwcFusedConv"):
            shapes = [next(iter(entry.values())) for entry in node["output_type_shape"]]
            work += sum(int(np.prod(shape)) for shape in shapes)
    branch = 2 * 64 * 56 * 56
    if logit < 0:
        assert work < 100, "more than the gate ran"
    else:
        assert branch <= work < branch + 100, "both convolutions run at every position"
    assert {node.domain for node in onnx.load(path).graph.node} >= {DOMAIN}
