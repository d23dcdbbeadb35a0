"""Gate statistics, and how a backend is judged by them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade_model import METADATA
from hypothesis import given, settings
from hypothesis import strategies as st
from polygraphy.comparator import IterationResult

from dyn2trt.compare import runs
from dyn2trt.compare.allowance import allowed_errors
from dyn2trt.compare.bisect import first_divergence
from dyn2trt.compare.gates import GateStatistics, compare_gates
from dyn2trt.compare.metrics import NormResult
from dyn2trt.compare.result import BackendResult, Cause, Comparison, GateResult, OutputResult, read_comparison
from dyn2trt.compare.verdict import causes, judge_forced_gates, judge_free_gates, judge_outputs
from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe.tolerances import Tolerances


def grid(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


def test_statistics_of_one_block() -> None:
    gate = compare_gates("b", grid(-1, -0.25, 0, 2), logits=grid(-1, 0.25, -0.5, 2))
    assert gate == GateStatistics(
        block="b",
        sites=4,
        active_reference=2,
        active=2,
        flipped=2,
        smallest_margin=0.0,
        largest_flipped_margin=0.25,
        logit_error=pytest.approx(np.sqrt(0.5) / np.sqrt(5.0625)),
        logit_scale=pytest.approx(np.sqrt(5.0625 / 4)),
        agreement=0.5,
    )


def test_a_site_at_the_threshold_is_active() -> None:
    gate = compare_gates("b", grid(0.0, -0.0), mask=np.array([True, True]).reshape(1, 1, 1, 2))
    assert (gate.active_reference, gate.flipped, gate.agreement) == (2, 0, 1.0)
    assert gate.logit_error is None


@given(
    reference=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=30),
    shift=st.floats(-1, 1, width=32),
)
@settings(max_examples=60, deadline=None)
def test_flips_are_the_sites_that_cross_zero(reference: list[float], shift: float) -> None:
    r = grid(*reference)
    y = r + np.float32(shift)
    gate = compare_gates("b", r, logits=y)
    crossing = [abs(float(a)) for a, b in zip(r.flat, y.flat, strict=True) if (a >= 0) != (b >= 0)]
    assert gate.flipped == len(crossing)
    assert gate.largest_flipped_margin == (max(crossing) if crossing else None)
    if crossing:
        assert gate.largest_flipped_margin <= abs(shift) * (1 + 1e-6) + 1e-6
    assert gate == compare_gates("b", r, logits=y)
    masked = compare_gates("b", r, mask=y >= 0)
    assert (masked.flipped, masked.active) == (gate.flipped, gate.active)


def test_a_gate_of_a_layer_decides_once_an_image() -> None:
    reference, logits = np.ones((3, 1, 4, 5), np.float32), np.ones((3, 1, 4, 5), np.float32)
    logits[1] = -1
    gate = compare_gates("b", reference, logits=logits, layer=True)
    assert (gate.sites, gate.active_reference, gate.active, gate.flipped) == (3, 3, 2, 1)
    assert gate.logit_error == pytest.approx(compare_gates("b", reference, logits=logits).logit_error)
    logits[0, 0, 3, 4] = -1
    gate = compare_gates("b", reference, logits=logits, layer=True)
    assert (gate.sites, gate.flipped) == (60, 21), "a layer that runs at some positions only is a fault to be seen"


@pytest.mark.parametrize("given_arrays", [{}, {"logits": grid(1, 2)}, {"mask": np.ones((1, 1, 3, 1), bool)}])
def test_decisions_of_another_shape_are_refused(given_arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"block b: expected decisions \[1, 1, 1, 3\]"):
        compare_gates("b", grid(1, 2, 3), **given_arrays)


RIGHT = compare_gates("right", grid(-1, 1), logits=grid(-1, 1))
ROUNDED = compare_gates("rounded", grid(-1, 1e-7), logits=grid(-1, -1e-7))
SHIFTED = compare_gates("shifted", grid(-1, 0.5), logits=grid(-1.6, -0.1))
BROKEN = compare_gates("broken", grid(-1, 1), logits=grid(np.nan, 1))


def output(error: float, *, judged: bool = True) -> OutputResult:
    return OutputResult("out0", error, 1e-5, error, 0, passed=error <= 1e-5, judged=judged)


def test_a_flip_within_rounding_passes() -> None:
    forced = judge_forced_gates([RIGHT, ROUNDED], [1e-4, 1e-4])
    assert [gate.passed for gate in forced] == [True, True]
    assert forced[1].statistics.flipped == 1
    outputs, same = [output(0.3, judged=False)], [output(1e-6)]
    assert causes(free_gates=[], forced_gates=forced, outputs=outputs, forced_outputs=same) == ()


def test_a_shifted_gate_is_a_fault_of_decisions_and_is_named() -> None:
    forced = judge_forced_gates([RIGHT, SHIFTED, BROKEN], [1e-4] * 3)
    found = causes(free_gates=[], forced_gates=forced, outputs=[output(0.3, judged=False)], forced_outputs=[output(0)])
    assert [cause.kind for cause in found] == ["decisions"]
    assert "shifted (logits off by" in found[0].message
    assert "1 of 2 decisions flipped" in found[0].message
    assert "broken" in found[0].message
    assert "right" not in found[0].message


def test_wrong_arithmetic_is_not_blamed_on_the_gates_behind_it() -> None:
    forced = judge_forced_gates([RIGHT, SHIFTED], [1e-4] * 2)
    found = causes(free_gates=[], forced_gates=forced, outputs=[output(0.3)], forced_outputs=[output(0.1)])
    assert [cause.kind for cause in found] == ["numbers"]
    assert "out0 differs by 0.1 (1e-05 allowed) with the reference's masks forced" in found[0].message


def test_outputs_as_they_are_count_when_nothing_flipped() -> None:
    found = causes(free_gates=[], forced_gates=[], outputs=[output(0.3)], forced_outputs=[output(0)])
    assert [cause.kind for cause in found] == ["numbers"]
    assert "as it is" in found[0].message


def test_masks_alone_are_judged_by_the_margins_of_the_first_block_that_flips() -> None:
    reference, threshold = grid(-1, 0.5, 1e-5), [1e-4]
    near = compare_gates("near", reference, mask=np.array([0, 1, 0], bool).reshape(1, 1, 1, 3))
    far = compare_gates("far", reference, mask=np.array([0, 0, 1], bool).reshape(1, 1, 1, 3))
    assert [gate.passed for gate in judge_free_gates([near, far], threshold * 2, alone=True)] == [True, True]
    judged = judge_free_gates([RIGHT, far, near], threshold * 3, alone=True)
    assert [gate.passed for gate in judged] == [True, False, True]
    assert all(gate.passed for gate in judge_free_gates([far], threshold, alone=False))
    found = causes(free_gates=judged, forced_gates=[], outputs=[], forced_outputs=[])
    assert [cause.kind for cause in found] == ["decisions"]
    assert "the gate of far flips 1 of 3 decisions, one at |logit| 0.5" in found[0].message


def test_batches_are_summed_up() -> None:
    batches = [
        NormResult(1e-6, 0.5, 1e-5, 1, 2),
        NormResult(3e-5, 0.2, 1e-5, 0, 2),
        NormResult(float("nan"), 0.1, 1e-5, 1, 2),
    ]
    (good,) = judge_outputs({"out0": batches[:1]}, None, judged=True)
    assert (good.passed, good.elementwise, good.worst_image) == (True, None, 1)
    (bad,) = judge_outputs({"out0": batches[:2]}, None, judged=True)
    assert (bad.passed, bad.error, bad.max_abs, bad.worst_image) == (False, 3e-5, 0.5, 2)
    (nan,) = judge_outputs({"out0": batches}, None, judged=True)
    assert (nan.passed, nan.worst_image) == (False, 5)
    (element,) = judge_outputs({"out0": batches[:1]}, {"out0": [True, False]}, judged=True)
    assert (element.passed, element.elementwise) == (False, False)


def test_the_first_divergence() -> None:
    blocks, allowed = ["a", "b", "c"], [(1e-5, 1e-5)] * 3
    fine = (1e-7, 1e-7)
    inside = first_divergence(blocks, [fine, (1e-7, 1e-3), (1e-3, 1e-2)], allowed)
    assert (inside.where, inside.block, inside.error, inside.input_error) == ("block", "b", 1e-3, 1e-7)
    before = first_divergence(blocks, [fine, (1e-3, 1e-3), fine], allowed)
    assert (before.where, before.block, before.error, before.input_error) == ("before", "b", 1e-3, 1e-7)
    assert first_divergence(blocks, [fine] * 3, allowed).where == "nowhere"
    assert first_divergence(blocks, [fine, (1e-7, float("nan")), fine], allowed).block == "b"


def comparison(*backends: BackendResult, causes: tuple[Cause, ...] = ()) -> Comparison:
    return Comparison("m.onnx", "", "resnet", "fp32", "torch", "", 1, "noise", 1, "", backends, causes)


def test_a_comparison_passes_when_what_ran_passed() -> None:
    ran, skipped = BackendResult("onnxruntime", ""), BackendResult("tensorrt", "", not_run="no GPU")
    failed = BackendResult("onnxruntime", "", causes=(Cause("numbers", "off"),))
    assert comparison(ran, skipped).passed
    assert not comparison(failed, skipped).passed
    assert not comparison(skipped, causes=(Cause("run", "nothing ran"),)).passed


def test_json_has_no_numbers_that_json_lacks() -> None:
    backend = BackendResult("onnxruntime", "", outputs=(output(float("nan")),), forced_outputs=(output(float("inf")),))
    document = json.loads(comparison(backend).to_json(), parse_constant=pytest.fail)
    assert document["passed"] is True
    assert document["backends"][0]["outputs"][0]["error"] is None


def test_what_torch_itself_flips_of_a_layer_is_counted_once_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the flips of a backend are, beside which the figure stands."""
    layer = replace(METADATA.blocks[0], gate="layer")
    metadata = replace(METADATA, precision="fp16", outputs=("out0",), blocks=(layer,))

    def iteration(*logits: float) -> IterationResult:
        decided = np.array(logits, np.float32)[:, None, None, None]
        outputs = {"out0": np.ones((3, 4), np.float32), "logits0": np.broadcast_to(decided, (3, 1, *layer.grid))}
        return IterationResult(outputs, 0.0, "torch")

    monkeypatch.setattr(runs, "run", lambda *_, **__: [iteration(-0.001, -1, 1)])
    allowed = allowed_errors(metadata, Tolerances(), object(), [{}], [{}], [iteration(0.001, -1, 1)])  # type: ignore[arg-type, list-item]
    assert allowed.torch_itself.startswith("torch in fp16 itself flips 1, ")


def test_a_comparison_survives_its_file(tmp_path: Path) -> None:
    broken = OutputResult("out0", float("nan"), 1e-5, float("inf"), 0, False)
    gate = compare_gates("b", grid(-1, 1), logits=grid(-1, np.nan))
    result = BackendResult(
        "tensorrt", "11.4", gates=(GateResult(gate, 1e-4, False),), outputs=(broken,), causes=(Cause("numbers", "off"),)
    )
    absent = BackendResult("onnxruntime", "", not_run="not installed")
    written = comparison(result, absent)
    (tmp_path / "compare.json").write_text(written.to_json())
    found = read_comparison(tmp_path / "compare.json")
    assert (found.passed, [b.passed for b in found.backends]) == (False, [False, False])
    assert found.all_causes == written.all_causes
    assert math.isnan(found.backends[0].outputs[0].error)
    assert found.backends[0].gates[0].statistics.flipped == gate.flipped
    assert found.backends[1] == absent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, expected 1; write it again with dyn2trt compare"),
        ({"images": "many"}, r"is damaged \(images: .*integer"),
        ({"backends": [{"detail": ""}]}, r"is damaged \(backends\.0\.name: Field required\)"),
    ],
)
def test_a_damaged_comparison_says_which_field(change: dict, message: str, tmp_path: Path) -> None:
    document = json.loads(comparison().to_json())
    (tmp_path / "compare.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(Dyn2trtError, match=message):
        read_comparison(tmp_path / "compare.json")
