"""Backends that see less than all, or cannot run: TensorRT as far as a machine without a GPU shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from compare_models import CHECKPOINT, GATE_BIAS, INPUTS, damaged, export_official, result_of
from dynamic_models import export_dynamic
from torch import Tensor, nn

from dyn2trt.blocks import CoefficientPredictor, DynamicConv2d, InvertedResidual
from dyn2trt.compare import comparison as module
from dyn2trt.compare.comparison import compare_model
from dyn2trt.compare.options import CompareOptions
from dyn2trt.compare.result import Comparison
from dyn2trt.compare.table import describe
from dyn2trt.engine import build_engine
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export import export_network
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession
from dyn2trt.runtimes.session import Feed, Session


class AsDeployed:
    """Runs the file as it is and nothing else, like a plan from which no further engine can be built."""

    detail = "as deployed"

    def __init__(self, model: onnx.ModelProto, name: str = "onnxruntime") -> None:
        self._model, self.name = model, name

    def session(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> Session:
        if forced or taps:
            raise MissingDependency("only the plan is there")
        return OnnxRuntimeSession(self._model, 1)


def compare_deployed(
    model: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path | None = CHECKPOINT, images: str = str(INPUTS)
) -> Comparison:
    monkeypatch.setattr(module, "OnnxRuntimeBackend", lambda model, *_: AsDeployed(model))
    options = CompareOptions(
        model=model, backends=("torch", "onnxruntime"), checkpoint=checkpoint, images=images, bisect=True
    )
    return compare_model(options)[0]


def test_masks_alone_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compare_deployed(export_official(with_decisions=True), monkeypatch)
    result = result_of(comparison)
    assert comparison.passed, comparison.to_json()
    assert [gate.statistics.logit_error for gate in result.gates] == [None] * 3
    assert (result.forced_gates, result.forced_outputs, result.divergence) == ((), (), None)
    assert result.outputs[0].judged
    assert result.notes == ("not run with the reference's masks forced: only the plan is there",)


def test_masks_alone_betray_a_shifted_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = export_official(with_decisions=True)
    model = damaged(sound, tmp_path / "gate.onnx", GATE_BIAS, lambda bias: bias + 0.05)
    comparison = compare_deployed(model, monkeypatch)
    (cause,) = result_of(comparison).causes
    assert cause.kind == "decisions"
    assert "the gate of layer2.0 flips" in cause.message
    assert not result_of(comparison).outputs[0].judged
    assert not comparison.passed
    divergence = result_of(comparison).divergence
    assert divergence is not None
    assert (divergence.where, divergence.block) == ("decision", "layer2.0")
    assert describe(divergence).startswith("what it decides by itself is right up to layer2.0, which is off by 0.")


def test_coefficients_of_a_plan_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = export_dynamic("dy_cifar_resnet", with_decisions=True)
    result = result_of(compare_deployed(sound, monkeypatch, None, "noise:3"))
    assert result.passed
    assert [coefficients.passed for coefficients in result.coefficients] == [True] * 3
    assert result.notes == ("not run with its blocks made visible: only the plan is there",)
    assert result.divergence is None

    (bias,) = [
        tensor.name
        for tensor in onnx.load(sound).graph.initializer
        if tensor.name.startswith("layer2.0.predictor.linear") and tensor.name.endswith(".bias")
    ]
    model = damaged(sound, tmp_path / "predictor.onnx", bias, lambda values: values + 0.1)
    result = result_of(compare_deployed(model, monkeypatch, None, "noise:3"))
    assert [cause.kind for cause in result.causes] == ["kernels"]
    assert result.divergence is not None
    assert (result.divergence.where, result.divergence.block) == ("decision", "layer2.0.predictor")
    assert result.divergence.input_error < result.divergence.tolerance < result.divergence.error


class GatedThenDynamic(nn.Module):
    """A predictor that sees what a gate decided."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gated = nn.Conv2d(3, 4, 1), InvertedResidual(4, 4)
        self.predictor, self.convolution = CoefficientPredictor(4, 8), DynamicConv2d(4, 4, 3, padding=1, kernels=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gated(self.stem(x))
        return self.convolution(x, self.predictor(x))


@pytest.mark.parametrize("flipped", [False, True])
def test_coefficients_behind_a_flipped_decision_are_not_judged(
    flipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    sound = tmp_path / "model.onnx"
    export_network(GatedThenDynamic().eval(), input_shape=(2, 3, 8, 8), path=sound, with_decisions=True)
    (bias,) = [t.name for t in onnx.load(sound).graph.initializer if "mask" in t.name and t.name.endswith("bias")]
    deployed = onnx.load(damaged(sound, tmp_path / "gate.onnx", bias, lambda values: values + 0.3 * flipped))
    monkeypatch.setattr(module, "TensorRtBackend", lambda *_: AsDeployed(deployed, "tensorrt"))
    comparison, _ = compare_model(CompareOptions(model=sound, backends=("onnxruntime", "tensorrt"), images="noise:2"))
    result = result_of(comparison, "tensorrt")
    assert (len(result.gates), len(result.coefficients)) == (1, 0 if flipped else 1)
    told = "its coefficients follow from the flips too, and are not compared"
    assert (told in result.notes) == flipped
    assert [cause.kind for cause in result.causes] == ["decisions"] * flipped


@pytest.mark.parametrize(("name", "lacking"), [("cifar_resnet", "masks"), ("dy_cifar_resnet", "coefficients")])
def test_outputs_alone_say_what_of_its_decisions_is_not_known(
    name: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = name == "cifar_resnet"
    arguments = (CHECKPOINT, str(INPUTS)) if gated else (None, "noise:3")
    comparison = compare_deployed(export_official() if gated else export_dynamic(name), monkeypatch, *arguments)
    assert comparison.passed
    result = result_of(comparison)
    told = f"it gives no {lacking}; dyn2trt export --with-decisions writes a file, and dyn2trt build a plan"
    assert any(told in note for note in result.notes)
    assert (result.gates, result.coefficients, result.divergence) == ((), (), None)


@pytest.mark.tensorrt
@pytest.mark.usefixtures("tensorrt_on_cpu")
def test_a_plan_without_a_gpu_is_not_run_and_says_why(tmp_path: Path) -> None:
    model, plan = export_official(ops="dense"), tmp_path / "model.plan"
    build_engine(model, plan)
    options = CompareOptions(model=model, checkpoint=CHECKPOINT, images=str(INPUTS), plan=plan)
    comparison, _ = compare_model(options)
    assert comparison.passed
    assert "there is no NVIDIA GPU" in (result_of(comparison, "tensorrt").not_run or "")

    other = onnx.load(model)
    other.doc_string = "another file"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(Dyn2trtError, match=r"model\.plan was built from another file than .*other\.onnx"):
        compare_model(CompareOptions(model=tmp_path / "other.onnx", checkpoint=CHECKPOINT, plan=plan))
    with pytest.raises(Dyn2trtError, match=r"absent\.plan"):
        compare_model(CompareOptions(model=model, checkpoint=CHECKPOINT, plan=tmp_path / "absent.plan"))


def test_an_output_that_is_missing_is_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load(export_official())
    model.graph.output[0].name = "renamed"
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == "out0":
                node.output[index] = "renamed"
    monkeypatch.setattr(module, "OnnxRuntimeBackend", lambda *_: AsDeployed(model))
    options = CompareOptions(model=export_official(), backends=("torch", "onnxruntime"), checkpoint=CHECKPOINT)
    comparison, _ = compare_model(options)
    assert not comparison.passed
    assert result_of(comparison).outputs[0].error == np.inf
