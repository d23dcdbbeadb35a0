"""The composites' ONNX bodies in ONNX Runtime equal the torch reference, however they are scheduled."""

from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_cases import Case, composite, composites, masked_dense, one_node_model, run_onnx, run_torch

import dyn2trt.ops  # noqa: F401  registers the ops
from dyn2trt.contract import COMPOSITES, DOMAIN, SCHEMAS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops.bodies import attach_bodies, functions_for
from dyn2trt.ops.bodies.hints import node_hints

COMPOSITE_NAMES = [schema.name for schema in COMPOSITES if not schema.owns_gate]
OWN_GATES = [schema.name for schema in COMPOSITES if schema.owns_gate]


def assert_agree(case: Case, model: onnx.ModelProto, bound: float = 1e-5) -> None:
    """y, and of a gate that the op owns its logits; y under ONNX Runtime's own decisions then."""
    ours, *logits = run_onnx(model, case.tensors)
    expected = run_torch(case.op, case.tensors, case.attributes)
    if logits:
        expected, wanted = expected
        came = torch.from_numpy(logits[0])
        assert came.shape == wanted.shape
        assert float((came - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))
        if not torch.equal(came >= case.threshold, wanted >= case.threshold):
            expected = masked_dense(case, came)
    theirs = expected.double().numpy()
    assert ours.shape == theirs.shape
    assert np.linalg.norm(ours.astype(np.float64) - theirs) <= bound * max(1.0, float(np.linalg.norm(theirs)))


def goes_dense(case: Case) -> bool:
    """Whether an adaptive body takes the dense way: what the body calls ``busy``, made an output of the model."""
    model = one_node_model(case.op, case.tensors, case.attributes, schedule="adaptive")
    (body,) = (function for function in model.functions if function.name == case.op)
    body.output.append("busy")
    model.graph.node[0].output.append("busy")
    model.graph.output.append(onnx.helper.make_tensor_value_info("busy", onnx.TensorProto.BOOL, []))
    return bool(run_onnx(model, case.tensors)[-1])


@settings(deadline=None, max_examples=80)
@given(composites(), st.sampled_from(["adaptive", "dense"]), st.booleans())
def test_scheduled_body_is_the_reference(case: Case, schedule: str, dynamic: bool):
    assert_agree(case, one_node_model(case.op, case.tensors, case.attributes, dynamic=dynamic, schedule=schedule))


@settings(deadline=None, max_examples=60)
@given(composites(), st.booleans())
def test_composition_is_the_reference(case: Case, dynamic: bool):
    assert_agree(case, one_node_model(case.op, case.tensors, case.attributes, dynamic=dynamic, quick=False))


@pytest.mark.parametrize("mask", ["nothing", "one site", "border", "blob", "everything"])
@pytest.mark.parametrize("op", COMPOSITE_NAMES)
def test_large_map(op, mask):
    """Large enough for the cost model to decide: sparse for nothing and one site, dense for everything."""
    case = composite(op, 1, 64, 57, 67, mask, 3, activation="relu6")
    model = one_node_model(op, case.tensors, case.attributes)
    assert next(a.s for a in model.graph.node[0].attribute if a.name == "schedule") == b"adaptive"
    assert_agree(case, model)
    if mask in ("nothing", "one site", "everything"):
        assert goes_dense(case) == (mask == "everything")


@pytest.mark.parametrize("op", COMPOSITE_NAMES)
def test_few_channels_are_worth_gathering_at_fewer_sites(op):
    """A map of as many multiply-accumulates, a quarter of its lines active: moving a value costs the same in both."""
    for channels, size, dense in ((12, 320, True), (96, 40, False)):
        case = composite(op, 1, channels, size, size, "nothing", 3, activation="relu")
        case.tensors["mask"][:, :, : size // 4] = 1
        assert goes_dense(case) == dense


@pytest.mark.parametrize("op", COMPOSITE_NAMES)
def test_nothing_of_the_sparse_way_stays_in_a_dense_node(op, tmp_path, capfd):
    """Where the nodes of an op differ in schedule, ONNX Runtime folds their shared body for each of them."""
    case = composite(op, 1, 64, 57, 67, "blob", 3, activation="relu6")
    model = one_node_model(op, case.tensors, case.attributes, schedule="adaptive")
    small = model.graph.node.add()
    small.CopyFrom(model.graph.node[0])
    small.name, small.output[0] = "small", "y_small"
    next(a for a in small.attribute if a.name == "schedule").s = b"dense"
    model.graph.output.add().CopyFrom(model.graph.output[0])
    model.graph.output[1].name = "y_small"
    del model.functions[:]
    model.functions.extend(functions_for(model))
    expected = run_torch(op, case.tensors, case.attributes).numpy()
    for came in run_onnx(model, case.tensors):
        np.testing.assert_allclose(came, expected, rtol=1e-3, atol=1e-4)

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert not capfd.readouterr().err  # no warnings of ONNX Runtime's
    optimized = onnx.load(options.optimized_model_filepath).graph
    producers = {output: node for node in optimized.node for output in node.output}
    waiting, before = ["y_small"], set()
    while waiting:
        if (node := producers.get(waiting.pop())) is not None:
            before.add(node.op_type)
            waiting += node.input
    assert before <= {"Conv", "Clip", "Add", "Mul", "Cast", "GreaterOrEqual"}
    convolutions = sum(name.endswith("_bias") for name in case.tensors)
    ways = 3 if op == "GatedInvertedResidual" else 2  # of the two nodes together: always dense; dense, in bands
    assert sum(node.op_type == "Conv" for node in optimized.node) == convolutions * ways


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("op", COMPOSITE_NAMES)
def test_images_that_skip_a_layer_beside_images_that_execute_it(op, quick):
    """As gates of layers decide; one image of four is little enough to take the sparse way."""
    case = composite(op, 4, 64, 37, 41, "nothing", 3, activation="relu")
    case.tensors["mask"][2] = 1
    assert not goes_dense(case)
    model = one_node_model(op, case.tensors, case.attributes, quick=quick)
    assert_agree(case, model)
    alone = {k: v[2:3] if k in ("x", "mask", "identity") else v for k, v in case.tensors.items()}
    both = run_torch(op, case.tensors, case.attributes)
    one = run_torch(op, alone, case.attributes)
    torch.testing.assert_close(both[2:3], one)


@pytest.mark.parametrize(("size", "schedule"), [(8, "dense"), (67, "adaptive")])
@pytest.mark.parametrize("op", COMPOSITE_NAMES)
def test_dynamic_batch_is_judged_by_one_image(op, size, schedule):
    case = composite(op, 1, 64, size, size, "blob", 3, activation="relu6")
    model = one_node_model(op, case.tensors, case.attributes)
    for value in (*model.graph.input, *model.graph.output):
        if len(value.type.tensor_type.shape.dim) == 4 and not value.name.endswith("_weight"):
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    assert node_hints(model, model.graph.node)[0]["schedule"] == schedule


@settings(deadline=None, max_examples=15)
@given(composites(), st.sampled_from([{"schedule": "adaptive"}, {"schedule": "dense"}, {"quick": False}]))
def test_float16(case: Case, how: dict[str, Any]):
    half = case.cast(torch.float16)
    assert_agree(half, one_node_model(case.op, half.tensors, case.attributes, **how), bound=4e-3)


@pytest.mark.parametrize("op", COMPOSITE_NAMES)
def test_large_map_of_float16(op):
    case = composite(op, 1, 64, 57, 67, "one site", 3, activation="relu6").cast(torch.float16)
    model = one_node_model(op, case.tensors, case.attributes)
    assert next(a.s for a in model.graph.node[0].attribute if a.name == "schedule") == b"adaptive"
    assert_agree(case, model, bound=4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("op", [*COMPOSITE_NAMES, *OWN_GATES])
def test_model_is_strictly_valid(op, quick, dtype):
    case = composite(op, 1, 8, 9, 8, "blob", 0, activation="relu").cast(dtype)
    model = one_node_model(op, case.tensors, case.attributes, quick=quick)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


@pytest.mark.parametrize("op", COMPOSITE_NAMES)
def test_composition_inlines_to_primitives(op):
    case = composite(op, 1, 8, 9, 8, "blob", 0, activation="relu")
    model = one_node_model(op, case.tensors, case.attributes, quick=False)
    flat = onnx.inliner.inline_selected_functions(model, [(DOMAIN, op)])
    ours = {node.op_type for node in flat.graph.node if node.domain == DOMAIN}
    assert ours == {"MaskGather", "SparseConv", "MaskScatter"}
    assert_agree(case, flat)


@pytest.mark.parametrize("schedule", ["adaptive", "dense", None])
@pytest.mark.parametrize("op", OWN_GATES)
def test_an_owned_gate_is_standard_ops_and_one_node_that_is_given_logits(op, schedule):
    case = composite(op, 1, 64, 57, 67, "blob", 0, activation="relu")
    how = {"quick": False} if schedule is None else {"schedule": schedule}
    model = one_node_model(op, case.tensors, case.attributes, **how)
    assert [f.name for f in model.functions if f.name.startswith(("Gated", op))] == [
        f"Gated{case.schema.block.name}",
        op,
    ]
    flat = onnx.inliner.inline_selected_functions(model, [(DOMAIN, op)])
    (inner,) = [node for node in flat.graph.node if node.domain == DOMAIN]
    hints = {a.name: onnx.helper.get_attribute_value(a) for a in inner.attribute}
    assert hints.get("schedule") == (schedule.encode() if schedule else None)
    assert hints["plugin_version"] == b"2"
    assert not {"If", "NonZero"} & {node.op_type for node in flat.graph.node}
    assert_agree(case, flat)
    assert_agree(case, model)


def test_only_the_needed_functions_are_attached():
    case = composite("GatedInvertedResidual", 1, 4, 5, 5, "blob", 0, activation="relu6")
    model = one_node_model(case.op, case.tensors, case.attributes)
    assert [f.name for f in model.functions] == ["GatedInvertedResidual"]
    pure = attach_bodies(model, quick=False)
    assert [f.name for f in pure.functions] == ["MaskGather", "SparseConv", "MaskScatter", "GatedInvertedResidual"]
    assert not {"schedule", "expanded_channels"} & {a.name for a in pure.graph.node[0].attribute}
    assert attach_bodies(pure) == model


def test_weights_that_are_no_initializers_run_as_the_composition():
    case = composite("GatedInvertedResidual", 1, 4, 5, 6, "blob", 0, activation="relu6")
    model = one_node_model(case.op, case.tensors, case.attributes)
    for constant in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(constant.name, 1, constant.dims))
    del model.graph.initializer[:]
    assert_agree(case, attach_bodies(model))


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_functions_declare_what_the_schema_says(schema):
    node = onnx.helper.make_node(
        schema.name, [t.name for t in schema.inputs], [t.name for t in schema.outputs], domain=DOMAIN
    )
    graph = onnx.helper.make_graph([node], "g", [], [])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    made = next(f for f in functions_for(model) if f.name == schema.name)
    assert list(made.input) == [t.name for t in schema.inputs]
    assert list(made.output) == [t.name for t in schema.outputs]
    declared = {a.name: onnx.helper.get_attribute_value(a) for a in made.attribute_proto}
    assert declared.pop("plugin_namespace") == b"dyn2trt"
    assert declared.pop("plugin_version") == b"2"
    assert declared == {
        a.name: a.default.encode() if a.kind == "string" else list(a.default) if a.kind == "ints" else a.default
        for a in schema.attributes
    }


def test_errors_say_what_is_expected():
    case = composite("GatedInvertedResidual", 1, 4, 5, 6, "blob", 0, activation="relu6")
    model = one_node_model(case.op, case.tensors, case.attributes)
    model.graph.node[0].input.pop()
    with pytest.raises(Dyn2trtError, match=r"has all of its inputs .* not 7 of them"):
        attach_bodies(model)
    model.graph.node[0].op_type = "GatedNothing"
    with pytest.raises(Dyn2trtError, match="no op GatedNothing"):
        attach_bodies(model)
    model.opset_import[0].version = 17
    with pytest.raises(Dyn2trtError, match="need opset 20 or newer, the model imports 17"):
        attach_bodies(model)
