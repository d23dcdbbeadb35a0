"""Networks of dynamic kernels, layers and halting positions compared: coefficients, masks, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compare_models import damaged, result_of
from dynamic_models import checkpoint_of, export_dynamic
from handmade_model import METADATA, Handmade, noise

from dyn2trt.bench.sweep.masks import to_logits
from dyn2trt.compare.backends import OnnxRuntimeBackend
from dyn2trt.compare.coefficients import judge_coefficients
from dyn2trt.compare.comparison import compare_model
from dyn2trt.compare.graphs import observed
from dyn2trt.compare.options import CompareOptions
from dyn2trt.compare.saved import save_activity
from dyn2trt.compare.table import render
from dyn2trt.errors import MissingDependency
from dyn2trt.export.metadata import KernelPredictor, read_metadata
from dyn2trt.export.surgery import inline_composites
from dyn2trt.ops.bodies import attach_bodies
from dyn2trt.runtimes.names import block_input, block_output
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession, parse_provider

PREDICTOR = "layer2.0.predictor"


def options_for(model: Path, **changes: object) -> CompareOptions:
    return CompareOptions(**{"model": model, "checkpoint": checkpoint_of(model), "images": "noise:3", **changes})


@pytest.mark.parametrize(
    ("name", "export"),
    [
        ("dy_cifar_resnet", {}),
        ("dy_cifar_resnet", {"precision": "fp16", "dynamic_batch": True}),
    ],
)
def test_a_sound_network_of_dynamic_kernels_passes(name: str, export: dict[str, object]) -> None:
    model = export_dynamic(name, **export)
    comparison, evidence = compare_model(options_for(model, bisect=True))
    backend = result_of(comparison)
    assert comparison.passed, comparison.to_json()
    kernels = read_metadata(model).kernels
    assert [result.predictor for result in backend.coefficients] == [predictor.name for predictor in kernels]
    assert [array.shape for array in evidence.reference_coefficients] == [(3, p.size) for p in kernels]
    assert backend.gates == backend.forced_outputs == evidence.reference_masks == ()
    assert all(output.judged for output in backend.outputs)
    assert backend.divergence is not None
    assert backend.divergence.where == "nowhere"
    assert "dynamic kernels" in comparison.reference_detail


def test_a_wrong_predictor_is_named(tmp_path: Path) -> None:
    (name,) = _initializers(export_dynamic("dy_cifar_resnet"), f"{PREDICTOR}.linear", ".bias")
    model = damaged(export_dynamic("dy_cifar_resnet"), tmp_path / "predictor.onnx", name, lambda bias: bias + 0.1)
    comparison, _ = compare_model(options_for(model))
    (cause,) = result_of(comparison).causes
    assert not comparison.passed
    assert cause.kind == "kernels"
    assert cause.message.startswith(f"coefficients of dynamic kernels differ: {PREDICTOR} (by up to 0.02")
    text = _printed(comparison)
    assert text.index(PREDICTOR) < text.index("layer1.0.predictor"), "the worst comes first"


def test_wrong_fixed_kernels_are_found_in_their_convolution(tmp_path: Path) -> None:
    source = export_dynamic("dy_cifar_resnet")
    convolution = read_metadata(source).kernels[1].convolutions[1]
    model = damaged(source, tmp_path / "kernel.onnx", convolution.weight, lambda weight: weight * 1.5)
    backend = result_of(compare_model(options_for(model, bisect=True))[0])
    assert {cause.kind for cause in backend.causes} <= {"numbers", "kernels"}
    assert backend.causes
    assert backend.divergence is not None
    assert (backend.divergence.where, backend.divergence.block) == ("block", convolution.name)


def test_coefficients_are_judged_by_their_largest_difference() -> None:
    predictor = KernelPredictor("p", "coefficients0", 2, 0, 0, ())
    reference = np.full((3, 2), 0.5, np.float32)
    candidate = reference.copy()
    candidate[1, 0] += 0.25
    (result,) = judge_coefficients([predictor], [candidate], [reference], [0.2])
    assert (result.max_abs, result.worst_image, result.passed) == (0.25, 1, False)
    assert judge_coefficients([predictor], [candidate], [reference], [0.25])[0].passed
    candidate[2, 1] = np.nan
    assert not judge_coefficients([predictor], [candidate], [reference], [9.0])[0].passed
    assert judge_coefficients([predictor], [candidate[:, :1]], [reference], [9.0])[0].max_abs == np.inf


def test_what_the_report_needs_is_saved(tmp_path: Path) -> None:
    _, evidence = compare_model(options_for(export_dynamic("dy_cifar_resnet")))
    save_activity(evidence, tmp_path / "activity.npz", mean=(0, 0, 0), std=(1, 1, 1))
    with np.load(tmp_path / "activity.npz") as arrays:
        assert sorted(arrays) == ["coefficients0", "coefficients1", "coefficients2", "images"]
        np.testing.assert_array_equal(arrays["coefficients1"], evidence.reference_coefficients[1])


@pytest.mark.parametrize(
    ("name", "export"),
    [("cifar_convnet_aig", {"ops": "primitive"}), ("cifar_sact", {}), ("cifar_sact", {"precision": "fp16"})],
)
def test_layers_and_halting_positions_compare_as_gates(name: str, export: dict[str, object]) -> None:
    comparison, evidence = compare_model(options_for(export_dynamic(name, **export), bisect=not export))
    backend = result_of(comparison)
    assert comparison.passed, comparison.to_json()
    assert len(backend.forced_gates) == len(evidence.reference_masks) == len(backend.gates) > 0
    active = [mask.mean() for mask in evidence.reference_masks]
    assert 0 < sum(active) < len(active), "every gate decides alike, so the comparison shows nothing"
    for gate, mask in zip(backend.gates, evidence.reference_masks, strict=True):
        assert gate.statistics.sites == (len(mask) if name == "cifar_convnet_aig" else mask.size)


@pytest.mark.parametrize("primitive", [False, True])
def test_taps_show_what_enters_and_leaves_a_block_of_each_kind(primitive: bool) -> None:
    handmade, x = Handmade(), noise()
    model = attach_bodies(handmade.proto())
    blocks = [block.name for block in METADATA.blocks]
    graph = observed(inline_composites(model) if primitive else model, forced=True, taps=blocks)
    wanted = handmade.reference(x)
    own = {f"forced{i}": to_logits(wanted[f"logits{i}"] >= 0) for i in range(3)}
    got = OnnxRuntimeSession(graph, 1).run({"x": x, **own})
    for block, entering, leaving in zip(blocks, ("x0", "x1", "x2"), ("x1", "x2", "out1"), strict=True):
        for name, value in ((block_input(block), entering), (block_output(block), leaving)):
            np.testing.assert_allclose(got[name], wanted[value], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_provider_of_onnx_runtime_can_be_chosen() -> None:
    model = onnx.load(export_dynamic("dy_cifar_resnet"))
    metadata = read_metadata(model)
    assert (parse_provider("cuda"), parse_provider("cpu")) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert OnnxRuntimeBackend(model, metadata).detail.endswith("CPUExecutionProvider")
    with pytest.raises(
        MissingDependency, match=r"this onnxruntime has no NoSuchProvider; it has .*CPUExecutionProvider"
    ):
        OnnxRuntimeBackend(model, metadata, "NoSuchProvider")
    comparison, _ = compare_model(options_for(export_dynamic("dy_cifar_resnet"), provider="NoSuchProvider"))
    assert "has no NoSuchProvider" in (result_of(comparison).not_run or "")


def _initializers(path: Path, start: str, end: str) -> list[str]:
    names = [tensor.name for tensor in onnx.load(path).graph.initializer]
    return [name for name in names if name.startswith(start) and name.endswith(end)]


def _printed(comparison: object) -> str:
    from rich.console import Console

    console = Console(width=80, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(comparison))  # type: ignore[arg-type]
    return console.export_text()
