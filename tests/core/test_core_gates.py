"""Gated blocks that own their gate, on the CPU emulator: the logits, and what is computed where they say so."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from core_cases import DTYPES, LAYOUTS, assert_close, dense
from core_guarded import GuardedOps
from ops_cases import Case, composite, gate_logits, masked_dense, run_torch
from torch import Tensor

from dyn2trt.contract import COMPOSITES, OpSchema
from dyn2trt.ops.core_library import CHAIN, GENERIC_ONLY

OWN = [schema for schema in COMPOSITES if schema.owns_gate]
# n, c, h, w: one position, odd sizes, channels beyond multiples of 8, more channels or positions than a chunk.
SHAPES = ((1, 24, 1, 1), (2, 8, 7, 5), (3, 3, 16, 9), (1, 72, 12, 20), (2, 16, 17, 19), (2, 100, 5, 6))
seeds = itertools.count()  # of the order in which blocks and threads run


def in_layout(x: Tensor, layout: str) -> Tensor:
    """The same values with other strides."""
    n, c, h, w = x.shape
    return dense((n, c, h, w), x.dtype, layout, torch.Generator()).copy_(x)


def laid_out(case: Case, layout: str) -> Case:
    names = [t.name for t in case.schema.inputs if t.type == "T" and t.shape[0] == "N"]
    return replace(case, tensors={k: in_layout(v, layout) if k in names else v for k, v in case.tensors.items()})


def cases(schema: OpSchema, dtype: torch.dtype, layout: str, which: range | tuple[int, ...] = range(6)) -> list[Case]:
    made = []
    for index in which:
        kind = ("some", "everything", "some", "some", "some", "nothing")[index]
        attributes = {"strides": (1 + index % 2,) * 2} if schema.block.is_strided else {}
        case = composite(schema.name, *SHAPES[index], kind, index, activation=schema.block.activation, **attributes)
        made.append(laid_out(case.cast(dtype), layout))
    return made


def call(path, case: Case, **how) -> tuple[Tensor, Tensor]:
    ops = GuardedOps(path, seed=next(seeds), **how)
    return ops.call(case.schema.torch_name, *case.tensors.values(), **case.attributes)


def logits_op(case: Case, logits: Tensor, **attributes) -> tuple[Tensor, Tensor]:
    """y of the op that takes logits, at precision and in float64."""
    weights = {t.name for t in case.schema.gate.parameters}
    given = [(k, v) for k, v in case.tensors.items() if k not in weights]
    tensors = dict([given[0], ("mask", logits), *given[1:]])
    name = f"Gated{case.schema.block.name}"
    wide = {k: v if k == "mask" else v.double() for k, v in tensors.items()}
    attributes = case.attributes | attributes
    return run_torch(name, tensors, attributes), run_torch(name, wide, attributes)


HOW = {"chosen": {}, "generic": {"flags": GENERIC_ONLY}, "chain": {"variant": CHAIN}}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("schema", OWN, ids=lambda schema: schema.name)
def test_a_block_with_its_gate(core_path, schema, dtype, layout, how):
    """Every shape in some layout, type and kernel."""
    turn = LAYOUTS.index(layout) + DTYPES.index(dtype) + list(HOW).index(how)
    for case in cases(schema, dtype, layout, (turn % 6, (turn + 3) % 6)):
        y, logits = call(core_path, case, **HOW[how])
        exact = gate_logits(case)
        assert logits.shape == exact.shape
        assert float((logits - exact).abs().max()) <= 1e-5 * max(1.0, float(exact.abs().max()))
        at_precision, expected = logits_op(case, logits)
        assert_close(y, expected, at_precision)
        assert torch.allclose(masked_dense(case, logits), expected)


@pytest.mark.parametrize("schema", [s for s in OWN if s.gate.pooled is None], ids=lambda schema: schema.name)
def test_one_order_of_summation_in_every_layout(core_path, schema):
    for dtype in DTYPES:
        for case in cases(schema, dtype, "nchw", (2, 5)):
            _, first = call(core_path, case)
            for layout in LAYOUTS[1:]:
                assert torch.equal(call(core_path, laid_out(case, layout))[1], first)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("schema", OWN, ids=lambda schema: schema.name)
def test_the_threshold_may_be_any_sites_own_logit(core_path, schema, layout):
    """Then that site is active by equality: whoever computes the logit once more, in another order, loses it."""
    case = cases(schema, torch.float16, layout, (4,))[0]
    _, logits = call(core_path, case)
    for site in (0, 7, logits.numel() // 2, logits.numel() - 1):
        at = replace(case, attributes=case.attributes | {"threshold": float(logits.flatten()[site])})
        y, again = call(core_path, at)
        assert torch.equal(again, logits)
        at_precision, expected = logits_op(at, logits)
        assert_close(y, expected, at_precision)
        changed = (y != masked_dense(at, torch.full_like(logits, -torch.inf)).to(y.dtype)).any(dim=1).flatten()
        assert bool(changed[site])


@pytest.mark.parametrize("schema", OWN, ids=lambda schema: schema.name)
def test_same_bits_whatever_the_order(core_path, schema):
    case = cases(schema, torch.float16, "nhwc", (4,))[0]
    first, *others = (call(core_path, case) for _ in range(5))
    for other in others:
        assert all(map(torch.equal, other, first))


@pytest.mark.parametrize(("gate", "launches"), [("Pointwise", 1), ("Squeeze", 3), ("Layer", 3)])
def test_launches_of_a_gate(core_path, gate, launches):
    case = composite(f"{gate}GatedBasicBlock", 1, 8, 9, 6, "some", 0, activation="relu").cast(torch.float16)
    ops = GuardedOps(core_path, variant=CHAIN)
    ops.launched()
    ops.call(case.schema.torch_name, *case.tensors.values(), **case.attributes)
    names = ops.launched()
    assert names[:launches] == ["pool_sums", "pool_layers", "gate_logits_planar"][3 - launches :]
    assert names[launches] == "begin"


@pytest.mark.parametrize("schema", OWN, ids=lambda schema: schema.name)
def test_infinities_pass_where_nothing_is_active(core_path, schema):
    """Undefined inputs may hold anything."""
    case = composite(schema.name, 1, 8, 5, 5, "some", 0, activation="none")
    case.tensors["x"].fill_(torch.nan)
    y, logits = call(core_path, case)
    idle = ~(logits >= 0).expand_as(y)
    base = case.tensors.get("identity", case.tensors["x"])
    assert torch.equal(y[idle].nan_to_num(), base[idle].nan_to_num())


def test_pointers_that_no_vector_load_takes(core_path):
    """The chain runs then: a tensor of torch's may begin anywhere."""
    case = composite("PointwiseGatedInvertedResidual", 1, 16, 6, 7, "some", 0, activation="relu6").cast(torch.float16)
    case = laid_out(case, "nhwc")
    expected, logits = run_torch(case.op, case.tensors, case.attributes)
    ops = GuardedOps(core_path)
    for name in ("x", "expand_weight", "project_bias"):
        given = {k: ops.guarded(v) for k, v in case.tensors.items()}
        tensor = given[name]
        room = ops._empty((tensor.numel() + 8,), tensor.dtype, tensor.device)
        given[name] = room[4:-4].as_strided(tensor.shape, tensor.stride()).copy_(tensor)
        assert given[name].data_ptr() % 16 == 8
        y, _ = ops.implementation(case.schema)(*given.values(), **case.attributes)
        assert_close(y, *reversed(logits_op(case, logits)))
        assert torch.allclose(y, expected, atol=1e-2)
        ops.release()
