"""Surgeries on a hand-made model: what each adds or removes, and that the numbers stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from handmade_model import METADATA, SHAPE, Handmade, noise

from dyn2trt.contract import DOMAIN
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.surgery import (
    dense_twin,
    inline_composites,
    with_decision_outputs,
    with_forced_masks,
    with_logit_outputs,
)


@pytest.fixture(scope="module")
def handmade() -> Handmade:
    return Handmade()


@pytest.fixture(scope="module")
def model(handmade: Handmade) -> onnx.ModelProto:
    from dyn2trt.ops.bodies import attach_bodies

    return attach_bodies(handmade.proto())


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted))


def gated(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.domain == DOMAIN]


def test_masks_and_logits_become_outputs_in_execution_order(handmade: Handmade, model: onnx.ModelProto) -> None:
    x = noise()
    wanted = handmade.reference(x)
    got = run(with_decision_outputs(with_logit_outputs(model)), {"x": x})
    assert list(got) == ["out0", "out1", "logits0", "logits1", "logits2", "mask0", "mask1", "mask2"]
    for i in range(3):
        assert close(got[f"logits{i}"], wanted[f"logits{i}"])
        assert got[f"mask{i}"].dtype == bool
        assert np.array_equal(got[f"mask{i}"], wanted[f"logits{i}"] >= 0)
        assert 0 < got[f"mask{i}"].mean() < 1
    assert close(got["out1"], wanted["out1"])


def test_asking_for_masks_twice_adds_them_once(model: onnx.ModelProto) -> None:
    twice = with_decision_outputs(with_decision_outputs(model))
    assert [o.name for o in twice.graph.output] == ["out0", "out1", "mask0", "mask1", "mask2"]
    assert read_metadata(twice).masks == ("mask0", "mask1", "mask2")


def test_forced_masks_replace_the_gates(handmade: Handmade, model: onnx.ModelProto) -> None:
    x = noise(1)
    forced = with_forced_masks(model)
    assert [i.name for i in forced.graph.input] == ["x", "logits0", "logits1", "logits2"]
    assert not [n for n in forced.graph.node if "gate" in n.name]
    everywhere = {f"logits{i}": np.ones((SHAPE[0], 1, *b.grid), np.float32) for i, b in enumerate(METADATA.blocks)}
    dense = handmade.reference(x, dense=True)
    got = run(forced, {"x": x, **everywhere})
    assert close(got["out0"], dense["out0"])
    assert close(got["out1"], dense["out1"])
    nowhere = {name: -value for name, value in everywhere.items()}
    stem = np.maximum(dense["x0"], 0)
    assert close(run(forced, {"x": x, **nowhere})["out0"], stem)


def test_forced_masks_keep_mask_outputs_and_drop_logit_outputs(model: onnx.ModelProto) -> None:
    forced = with_forced_masks(with_decision_outputs(with_logit_outputs(model)))
    assert [o.name for o in forced.graph.output] == ["out0", "out1", "mask0", "mask1", "mask2"]
    logits = {f"logits{i}": noise(i, (SHAPE[0], 1, *b.grid)) for i, b in enumerate(METADATA.blocks)}
    got = run(forced, {"x": noise(), **logits})
    assert np.array_equal(got["mask1"], logits["logits1"] >= 0)


@pytest.mark.parametrize("inline_first", [False, True])
def test_dense_twin_is_the_ungated_network_in_standard_ops(
    handmade: Handmade, model: onnx.ModelProto, inline_first: bool
) -> None:
    x = noise(2)
    twin = dense_twin(inline_composites(model) if inline_first else model)
    assert not twin.functions
    assert {node.domain for node in twin.graph.node} == {""}
    assert {i.domain for i in twin.opset_import} == {""}
    assert {n.op_type for n in twin.graph.node} == {"Conv", "Relu", "Clip", "Add"}
    assert not [n for n in twin.graph.node if "gate" in n.name]
    wanted = handmade.reference(x, dense=True)
    got = run(twin, {"x": x})
    assert list(got) == ["out0", "out1"]
    assert close(got["out0"], wanted["out0"])
    assert close(got["out1"], wanted["out1"])
    metadata = read_metadata(twin)
    assert (metadata.ops, metadata.blocks) == ("dense", ())
    assert metadata.macs_ungated == METADATA.macs_gated + METADATA.macs_ungated


@pytest.mark.parametrize("dress", [with_decision_outputs, with_logit_outputs, with_forced_masks])
def test_dense_twin_drops_what_belongs_to_gates(model: onnx.ModelProto, dress) -> None:
    twin = dense_twin(dress(model))
    assert [i.name for i in twin.graph.input] == ["x"]
    assert [o.name for o in twin.graph.output] == ["out0", "out1"]


def test_inlined_composites_are_primitives_named_after_their_block(handmade: Handmade, model: onnx.ModelProto) -> None:
    x = noise(4)
    inlined = inline_composites(model)
    nodes = gated(inlined)
    assert {n.op_type for n in nodes} <= {"MaskGather", "SparseConv", "MaskScatter"}
    assert {n.name.split("/")[0] for n in nodes} == {b.name for b in METADATA.blocks}
    assert len({n.name for n in inlined.graph.node}) == len(inlined.graph.node)
    for node in nodes:
        attributes = {a.name: a.s for a in node.attribute if a.type == onnx.AttributeProto.STRING}
        assert attributes["plugin_namespace"] == b"dyn2trt"
        assert attributes["plugin_version"] == b"2"
    assert not {f.name for f in inlined.functions} & {b.op for b in METADATA.blocks}
    assert read_metadata(inlined).ops == "primitive"
    got, wanted = run(with_decision_outputs(inlined), {"x": x}), handmade.reference(x)
    assert close(got["out1"], wanted["out1"])
    assert np.array_equal(got["mask2"], wanted["logits2"] >= 0)


def test_a_surgery_leaves_its_argument_as_it_was(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    for surgery in (with_decision_outputs, with_logit_outputs, with_forced_masks, dense_twin, inline_composites):
        first, second = surgery(model), surgery(model)
        assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert model.SerializeToString(deterministic=True) == before


def test_half_precision_twins_clip_in_their_own_type() -> None:
    twin = dense_twin(Handmade(np.float16).proto())
    types = {t.name: t.data_type for t in twin.graph.initializer}
    assert types["relu6_max_float16"] == onnx.TensorProto.FLOAT16
    assert [list(t.dims) for t in twin.graph.initializer if t.name == "relu6_max_float16"] == [[]]


def test_a_graph_changed_after_export_is_refused(handmade: Handmade) -> None:
    model = handmade.proto()
    del model.graph.node[-2]
    with pytest.raises(Dyn2trtError, match=r"metadata names gate logits2 of block stage\.2"):
        with_decision_outputs(model)
