"""The torch ops: registered as the schemas say, equal to masked dense convolutions, traceable."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_cases import Case, composite, composites, gate_logits, masked_dense, run_torch

import dyn2trt.ops  # noqa: F401  registers the ops
from dyn2trt.contract import COMPOSITES, SCHEMAS
from dyn2trt.ops.geometry import Geometry, same3x3


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_registered_signature_is_the_schemas(schema):
    registered = getattr(torch.ops.dyn2trt, schema.torch_name).default._schema
    assert [a.name for a in registered.arguments] == [t.name for t in schema.inputs] + [
        a.name for a in schema.attributes
    ]
    assert [a.default_value for a in registered.arguments if a.kwarg_only] == [
        list(a.default) if a.kind == "ints" else a.default for a in schema.attributes
    ]
    assert len(registered.returns) == len(schema.outputs)


def agreed(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """y of the op and of the oracle, under the op's own decisions; a gate's logits have to be the oracle's."""
    result = run_torch(case.op, case.tensors, case.attributes)
    if not case.schema.owns_gate:
        return result, masked_dense(case)
    y, logits = result
    expected = gate_logits(case)
    assert logits.shape == expected.shape
    assert logits.dtype == (torch.float64 if y.dtype == torch.float64 else torch.float32)
    assert float((logits - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))
    return y, masked_dense(case, logits)


@settings(deadline=None, max_examples=150)
@given(composites())
def test_composite_is_masked_dense(case: Case):
    ours, theirs = agreed(case)
    assert ours.shape == theirs.shape
    assert torch.linalg.norm(ours - theirs) <= 1e-5 * max(1.0, torch.linalg.norm(theirs))


@settings(deadline=None, max_examples=20)
@given(composites(), st.sampled_from([torch.float64, torch.float16, torch.bfloat16]))
def test_composite_in_other_precisions(case: Case, dtype: torch.dtype):
    rounded = case.cast(dtype)
    ours, theirs = agreed(rounded)
    assert ours.dtype == dtype
    bound = {torch.float64: 1e-12, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    assert torch.linalg.norm(ours.double() - theirs) <= bound * max(1.0, torch.linalg.norm(theirs))


@pytest.mark.parametrize("op", [name for name, schema in SCHEMAS.items() if schema.is_composite])
def test_nothing_active_gives_the_identity(op):
    case = composite(op, 2, 4, 5, 7, "nothing", 0, activation="none")
    base = case.tensors.get("identity", case.tensors["x"])
    assert torch.equal(agreed(case)[0], base)


def test_slots_and_sites_are_inverse():
    x, mask = torch.randn(2, 3, 6, 5), torch.randn(2, 1, 3, 3)
    geometry = same3x3((2, 2)).attributes
    sites, slots, count, rows = torch.ops.dyn2trt.mask_gather(mask, x, **geometry)
    assert torch.equal(slots.flatten()[sites.long()], torch.arange(len(sites), dtype=torch.int32))
    assert int((slots >= 0).sum()) == len(sites) == int(count.sum())
    assert torch.equal(rows, x.permute(0, 2, 3, 1).reshape(-1, 3)[sites.long()])


def test_receptive_field_of_stacked_convolutions():
    assert same3x3().stacked_on(same3x3()) == Geometry((5, 5), (1, 1), (2, 2, 2, 2))
    assert same3x3().stacked_on(same3x3((2, 2))) == Geometry((7, 7), (2, 2), (3, 3, 3, 3))


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_ops_trace_with_an_unknown_number_of_rows(strides):
    case = composite("GatedBasicBlock", 1, 4, 9, 8, "scattered", 1, activation="relu", strides=strides)
    t, geometry = case.tensors, same3x3(strides).attributes

    class Chain(torch.nn.Module):
        def forward(self, x, mask, identity):
            sites, _, count, _ = torch.ops.dyn2trt.mask_gather(mask)
            _, slots, _, rows = torch.ops.dyn2trt.mask_gather(mask, x, **geometry)
            rows = torch.ops.dyn2trt.sparse_conv(
                rows, t["conv1_weight"], t["conv1_bias"], slots, sites, count, **geometry
            )
            return torch.ops.dyn2trt.mask_scatter(identity, rows, sites, count)

    inputs = (t["x"], t["mask"], t["identity"])
    exported = torch.export.export(Chain(), inputs).module()
    assert torch.equal(exported(*inputs), Chain()(*inputs))


@pytest.mark.parametrize("schema", COMPOSITES, ids=lambda schema: schema.name)
def test_composites_are_ops_by_torchs_own_check(schema):
    strides = {"strides": (2, 2)} if schema.block.is_strided else {}
    case = composite(schema.name, 1, 4, 9, 8, "scattered", 1, activation="relu", **strides)
    op = getattr(torch.ops.dyn2trt, schema.torch_name).default
    torch.library.opcheck(op, tuple(case.tensors.values()), case.attributes)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"kernel_shape": [3]}, "kernel_shape is 2 integers"),
        ({"kernel_shape": [3, 3]}, "needs slots, sites and count"),
        ({"activation": "gelu"}, "activation is one of none, relu, relu6, hard_swish"),
        ({"group": 2}, "group is 1 or the number of channels 4"),
    ],
)
def test_wrong_attributes_say_what_is_expected(attributes, message):
    with pytest.raises(ValueError, match=message):
        torch.ops.dyn2trt.sparse_conv(torch.randn(5, 4), torch.randn(4, 1, 1, 4), torch.randn(4), **attributes)
