"""Whole networks compared: sound ones pass, damaged ones fail and are told apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from compare_models import BLOCKS, CHECKPOINT, GATE_BIAS, INPUTS, WEIGHT, damaged, export_official, result_of

from dyn2trt.compare.comparison import compare_model
from dyn2trt.compare.options import CompareOptions
from dyn2trt.compare.saved import save_activity, save_runs
from dyn2trt.compare.table import render
from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe.tolerances import Tolerances


def options_for(model: Path, **changes: object) -> CompareOptions:
    return CompareOptions(**{"model": model, "checkpoint": CHECKPOINT, "images": str(INPUTS), **changes})


@pytest.mark.parametrize("ops", ["composite", "primitive"])
def test_a_sound_model_passes_everywhere(ops: str) -> None:
    comparison, evidence = compare_model(options_for(export_official(ops=ops), bisect=True))
    backend = result_of(comparison)
    assert comparison.passed, comparison.to_json()
    assert (comparison.images, comparison.batch_size, comparison.reference) == (4, 2, "torch")
    assert [gate.statistics.block for gate in backend.gates] == BLOCKS
    assert [gate.statistics.sites for gate in backend.gates] == [4 * 32 * 32, 4 * 16 * 16, 4 * 8 * 8]
    assert all(gate.passed and gate.statistics.logit_error < 1e-5 for gate in backend.forced_gates)
    assert all(output.passed and output.judged for output in backend.outputs + backend.forced_outputs)
    assert backend.divergence is not None
    assert backend.divergence.where == "nowhere"
    official = np.load(INPUTS)
    for index, mask in enumerate(evidence.reference_masks):
        np.testing.assert_array_equal(mask, official[f"mask{index}"])
    tensorrt = next(b for b in comparison.backends if b.name == "tensorrt")
    assert "no plan was given" in (tensorrt.not_run or "")


def test_masks_in_the_file_change_nothing() -> None:
    comparison, _ = compare_model(options_for(export_official(with_decisions=True)))
    assert comparison.passed, comparison.to_json()


def test_the_ungated_network_is_compared_with_the_ungated_reference() -> None:
    comparison, evidence = compare_model(options_for(export_official(ops="dense"), bisect=True))
    backend = result_of(comparison)
    assert comparison.passed, comparison.to_json()
    assert backend.gates == backend.forced_outputs == evidence.reference_masks == ()
    assert "ungated" in comparison.reference_detail


@pytest.mark.parametrize(("precision", "ops"), [("fp16", "composite"), ("fp16", "dense"), ("bf16", "composite")])
def test_low_precision_is_measured_by_torch_or_said_not_to_run(precision: str, ops: str) -> None:
    comparison, _ = compare_model(options_for(export_official(precision=precision, ops=ops)))
    backend = result_of(comparison)
    if backend.not_run is not None:
        assert f"no {precision} kernel" in backend.not_run
        assert [cause.message for cause in comparison.causes] == [
            "nothing was compared: no backend ran beside the reference"
        ]
        assert not comparison.passed
        return
    assert comparison.passed, comparison.to_json()
    flips = sum(gate.statistics.flipped for gate in backend.gates)
    assert any("torch in fp16 itself flips" in note for note in backend.notes) == (flips > 0)
    (output,) = backend.forced_outputs or backend.outputs
    assert 1e-5 < output.tolerance < 2e-2
    assert output.error > 1e-5, "an fp16 model computes in fp16"
    assert all(1e-4 <= gate.tolerance < 2e-2 for gate in backend.forced_gates)


def test_one_wrong_weight_is_found_in_its_block(tmp_path: Path) -> None:
    def change(weight: np.ndarray) -> np.ndarray:
        weight.flat[weight.size // 2] += 0.5
        return weight

    model = damaged(export_official(), tmp_path / "weight.onnx", WEIGHT, change)
    comparison, _ = compare_model(options_for(model, bisect=True))
    backend = result_of(comparison)
    assert not comparison.passed
    assert {cause.kind for cause in backend.causes} == {"numbers"}
    assert "with the reference's masks forced" in backend.causes[0].message
    assert backend.divergence is not None
    assert (backend.divergence.where, backend.divergence.block) == ("block", "layer2.0")
    assert backend.divergence.input_error < 1e-5 < backend.divergence.error


def test_a_wrong_weight_between_blocks_is_found_before_the_next(tmp_path: Path) -> None:
    model = damaged(export_official(), tmp_path / "stem.onnx", "conv1.weight", lambda weight: weight * 1.01)
    backend = result_of(compare_model(options_for(model, bisect=True))[0])
    assert backend.divergence is not None
    assert (backend.divergence.where, backend.divergence.block) == ("before", "layer1.0")


def test_a_shifted_gate_is_a_flip_and_no_numerical_fault(tmp_path: Path) -> None:
    model = damaged(export_official(), tmp_path / "gate.onnx", GATE_BIAS, lambda bias: bias + 0.05)
    comparison, _ = compare_model(options_for(model, bisect=True))
    backend = result_of(comparison)
    assert not comparison.passed
    assert [cause.kind for cause in backend.causes] == ["decisions"]
    assert "layer2.0 (logits off by" in backend.causes[0].message
    assert not any(block in backend.causes[0].message for block in ("layer1.0", "layer3.0"))
    assert backend.gates[1].statistics.flipped > 0
    assert [gate.statistics.flipped for gate in backend.forced_gates][::2] == [0, 0]
    assert not backend.outputs[0].judged
    assert backend.forced_outputs[0].passed
    assert backend.divergence is not None
    assert backend.divergence.where == "nowhere"


def test_a_flip_that_rounding_explains_passes(tmp_path: Path) -> None:
    sound = result_of(compare_model(options_for(export_official()))[0])
    margin = sound.gates[1].statistics.smallest_margin

    models = [
        damaged(export_official(), tmp_path / f"{by}.onnx", GATE_BIAS, lambda bias, by=by: bias + by * margin)
        for by in (-1.5, 1.5)
    ]
    comparisons = [compare_model(options_for(model))[0] for model in models]
    flips = [result_of(comparison).gates[1].statistics.flipped for comparison in comparisons]
    assert max(flips) >= 1, "the site nearest to the threshold crosses it in one direction"
    assert all(comparison.passed for comparison in comparisons)
    assert [result_of(comparison).outputs[0].judged for comparison in comparisons] == [not flip for flip in flips]


def test_a_tolerance_that_is_too_tight_fails() -> None:
    comparison, _ = compare_model(options_for(export_official(), tolerances=Tolerances(by_output={"out0": 1e-12})))
    assert [cause.kind for cause in result_of(comparison).causes] == ["numbers"]
    assert "as asked: out0 1e-12" in comparison.yardstick
    elementwise, _ = compare_model(options_for(export_official(), atol=Tolerances(0.0), rtol=Tolerances(0.0)))
    backend = result_of(elementwise)
    assert [output.elementwise for output in backend.forced_outputs] == [False]
    assert "exceeds atol + rtol·|reference|" in backend.causes[0].message
    loose, _ = compare_model(options_for(export_official(), atol=Tolerances(1e-4)))
    assert [output.elementwise for output in result_of(loose).outputs] == [True]


def test_the_last_batch_is_filled_up() -> None:
    comparison, evidence = compare_model(options_for(export_official(), images="noise:3"))
    assert (comparison.images, len(evidence.feeds)) == (3, 2)
    np.testing.assert_array_equal(evidence.feeds[1]["x"][1], evidence.x[0])
    assert result_of(comparison).gates[2].statistics.sites == 3 * 8 * 8
    assert len(evidence.reference_masks[0]) == 3


def test_a_dynamic_model_runs_at_another_batch_and_size() -> None:
    model = export_official(dynamic_batch=True, dynamic_size=True)
    comparison, evidence = compare_model(options_for(model, images="noise:4", input_shape=(3, 3, 40, 48)))
    assert comparison.passed, comparison.to_json()
    assert [feed["x"].shape for feed in evidence.feeds] == [(3, 3, 40, 48), (1, 3, 40, 48)]
    with pytest.raises(Dyn2trtError, match="the model takes 2x3x32x32, not 3x3x40x48: N is static"):
        compare_model(options_for(export_official(), input_shape=(3, 3, 40, 48)))


def test_backends_without_torch() -> None:
    with pytest.raises(Dyn2trtError, match="the reference tensorrt cannot run: no plan was given"):
        compare_model(options_for(export_official(), backends=("tensorrt", "onnxruntime")))
    comparison, _ = compare_model(
        options_for(export_official(), backends=("onnxruntime", "torch"), checkpoint=CHECKPOINT)
    )
    assert comparison.passed
    assert [backend.name for backend in comparison.backends] == ["torch"]
    with pytest.raises(Dyn2trtError, match=r"without torch nothing says how exact fp16 can be.*--tolerance out0:VALUE"):
        compare_model(options_for(export_official(precision="fp16", ops="dense"), backends=("onnxruntime", "tensorrt")))


def test_a_backend_that_was_asked_for_must_run() -> None:
    comparison, _ = compare_model(options_for(export_official(), required=True))
    assert not comparison.passed
    assert result_of(comparison).passed
    assert "tensorrt was asked for, but cannot run" in comparison.backends[1].causes[0].message


def test_a_model_that_does_not_load_is_a_failure_of_that_backend(tmp_path: Path) -> None:
    model = onnx.load(export_official())
    next(node for node in model.graph.node if node.op_type == "Conv").op_type = "NoSuchOp"
    onnx.save(model, tmp_path / "unknown.onnx")
    comparison, _ = compare_model(options_for(tmp_path / "unknown.onnx"))
    (cause,) = result_of(comparison).causes
    assert (cause.kind, comparison.passed) == ("run", False)
    assert "onnxruntime refuses the model" in cause.message


def test_the_reference_has_to_be_what_was_exported(tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(CHECKPOINT.read_bytes() + b"\0")
    with pytest.raises(Dyn2trtError, match=r"other\.pth is not what the model was exported from: expected cifar_res"):
        compare_model(options_for(export_official(), checkpoint=other))
    with pytest.raises(Dyn2trtError, match=r"came from cifar_resnet8\.pth .*give it with --checkpoint"):
        compare_model(options_for(export_official(), checkpoint=None))
    with pytest.raises(Dyn2trtError, match="cannot read the checkpoint"):
        compare_model(options_for(export_official(), checkpoint=tmp_path / "absent.pth"))


def test_saved_files_load_in_polygraphy(tmp_path: Path) -> None:
    _, evidence = compare_model(options_for(export_official()))
    files = save_runs(evidence, tmp_path)
    assert [file.name for file in files] == ["inputs.json", "outputs.json", "forced_inputs.json", "forced_outputs.json"]
    words = ["run", export_official(), "--onnxrt", "--load-inputs", files[0], "--load-outputs", files[1]]
    words += ["--atol", "1e-4", "--rtol", "1e-4"]
    program = "import sys; from polygraphy.tools import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "vs. torch | Passed: 2/2 iterations" in ran.stdout.replace("\n", " ")


def test_activity_for_the_report(tmp_path: Path) -> None:
    _, evidence = compare_model(options_for(export_official(), images="noise:3"))
    save_activity(evidence, tmp_path / "activity.npz", mean=(0, 0, 0), std=(1, 1, 1))
    with np.load(tmp_path / "activity.npz") as activity:
        assert sorted(activity) == ["images", "mask0", "mask1", "mask2"]
        assert (activity["images"].dtype, activity["images"].shape) == (np.uint8, (3, 32, 32, 3))
        assert (activity["mask1"].dtype, activity["mask1"].shape) == (bool, (3, 1, 16, 16))


def test_the_table_says_what_matters(tmp_path: Path) -> None:
    from rich.console import Console

    model = damaged(export_official(), tmp_path / "gate.onnx", GATE_BIAS, lambda bias: bias + 0.05)
    comparison, _ = compare_model(options_for(model))
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(comparison, rows=2))
    text = console.export_text()
    assert "the worst 2 of 3 gates" in text
    rows = [line.split()[0] for line in text.splitlines() if line.strip().startswith("layer")]
    assert rows[0] == "layer2.0"
    assert "decisions: gates decide otherwise" in text
    assert "not run; no plan was given" in text
    assert text.rstrip().endswith("FAILED")
    assert max(map(len, text.splitlines())) <= 80
    assert json.loads(comparison.to_json())["backends"][0]["causes"][0]["kind"] == "decisions"
