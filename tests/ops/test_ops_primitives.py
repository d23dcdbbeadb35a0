"""The primitives' bodies and references equal dense convolutions, over any geometry."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_cases import MASKS, activity, one_node_model, run_onnx, run_torch

import dyn2trt.ops  # noqa: F401  registers the ops
from dyn2trt.contract import ACTIVATIONS
from dyn2trt.ops.activations import activate
from dyn2trt.ops.geometry import Geometry


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    kernel = draw(pair(1, 4))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    return Geometry(kernel, draw(pair(1, 3)), pads, draw(pair(1, 2)))


@st.composite
def sparse_convolutions(draw: st.DrawFn) -> dict[str, Any]:
    geometry = draw(geometries())
    extents = [d * (k - 1) + 1 for d, k in zip(geometry.dilations, geometry.kernel_shape, strict=True)]
    h, w = (draw(st.integers(e, e + 9)) for e in extents)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    n, cin = draw(st.integers(1, 2)), draw(st.integers(2, 5))
    group = draw(st.sampled_from([1, 0, cin]))
    cout = draw(st.integers(1, 5)) if group == 1 else cin
    kh, kw = geometry.kernel_shape
    weight = rng.standard_normal((cout, kh, kw, cin) if group == 1 else (kh, kw, cin))
    return {
        "geometry": geometry,
        "x": torch.from_numpy(rng.standard_normal((n, cin, h, w)).astype(np.float32)),
        "mask": torch.from_numpy(activity(draw(st.sampled_from(MASKS)), (n, 1, *geometry.output_size(h, w)), rng)),
        "weight": torch.from_numpy(weight.astype(np.float32)),
        "bias": torch.from_numpy(rng.standard_normal(cout).astype(np.float32)),
        "group": group,
        "activation": draw(st.sampled_from(ACTIVATIONS)),
    }


def gather(mask: torch.Tensor, x: torch.Tensor, geometry: Geometry) -> list[torch.Tensor]:
    """MaskGather in torch and in ONNX Runtime; their outputs must be equal to the last bit."""
    tensors = {"mask": mask, "x": x}
    theirs = run_torch("MaskGather", tensors, geometry.attributes)
    ours = run_onnx(one_node_model("MaskGather", tensors, geometry.attributes), tensors)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    return list(theirs)


@settings(deadline=None, max_examples=40)
@given(sparse_convolutions())
def test_gather_convolve_scatter_is_masked_dense(case: dict[str, Any]):
    geometry, x, mask = case["geometry"], case["x"], case["mask"]
    _, slots, _, rows = gather(mask, x, geometry)
    sites, _, count, _ = gather(mask, mask, Geometry())
    tensors = {
        "rows": rows,
        "weight": case["weight"],
        "bias": case["bias"],
        "slots": slots,
        "sites": sites,
        "count": count,
    }
    attributes = {**geometry.attributes, "group": case["group"], "activation": case["activation"]}
    theirs = run_torch("SparseConv", tensors, attributes)
    model = one_node_model("SparseConv", tensors, attributes)
    onnx.checker.check_model(model, full_check=True)
    ours = run_onnx(model, tensors)[0]
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)

    depthwise = case["group"] != 1
    weight = case["weight"].permute(2, 0, 1)[:, None] if depthwise else case["weight"].permute(0, 3, 1, 2)
    top, left, bottom, right = geometry.pads
    dense = F.conv2d(
        F.pad(x, (left, right, top, bottom)),
        weight,
        case["bias"],
        stride=geometry.strides,
        dilation=geometry.dilations,
        groups=x.shape[1] if depthwise else 1,
    )
    dense = activate(dense, case["activation"])
    placed = torch.ops.dyn2trt.mask_scatter(torch.zeros_like(dense), theirs, sites, count, reduction="none")
    torch.testing.assert_close(placed, dense * (mask >= 0), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(MASKS),
    st.sampled_from(["add", "none"]),
    st.sampled_from(ACTIVATIONS),
    st.tuples(*[st.integers(1, 6)] * 4),
    st.booleans(),
)
def test_scatter(kind: str, reduction: str, activation: str, shape: tuple[int, ...], dynamic: bool):
    rng = np.random.default_rng(7)
    base = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    mask = torch.from_numpy(activity(kind, (shape[0], 1, *shape[2:]), rng))
    sites, _, count, _ = torch.ops.dyn2trt.mask_gather(mask)
    rows = torch.from_numpy(rng.standard_normal((len(sites), shape[1])).astype(np.float32))
    tensors = {"base": base, "rows": rows, "sites": sites, "count": count}
    attributes = {"reduction": reduction, "activation": activation}
    theirs = run_torch("MaskScatter", tensors, attributes)
    ours = run_onnx(one_node_model("MaskScatter", tensors, attributes, dynamic=dynamic), tensors)[0]
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6, atol=1e-6)
    idle = (mask < 0).expand_as(base)
    torch.testing.assert_close(theirs[idle], activate(base, activation)[idle])


def test_pointwise_keeps_its_set():
    rows, weight, bias = torch.randn(7, 5), torch.randn(3, 1, 1, 5), torch.randn(3)
    expected = rows @ weight[:, 0, 0].T + bias
    torch.testing.assert_close(torch.ops.dyn2trt.sparse_conv(rows, weight, bias), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("group", [1, 4])
def test_convolution_in_a_dtype(dtype, group):
    mask, x = torch.randn(1, 1, 6, 7), torch.randn(1, 4, 6, 7).to(dtype)
    geometry = Geometry((3, 3), (1, 1), (1, 1, 1, 1))
    _, slots, _, rows = torch.ops.dyn2trt.mask_gather(mask, x, **geometry.attributes)
    sites, _, count, _ = torch.ops.dyn2trt.mask_gather(mask)
    weight = torch.randn((4, 3, 3, 4) if group == 1 else (3, 3, 4)).to(dtype)
    tensors = {"rows": rows, "weight": weight, "bias": torch.randn(4).to(dtype), "slots": slots, "sites": sites}
    tensors["count"] = count
    attributes = {**geometry.attributes, "group": group}
    ours = run_onnx(one_node_model("SparseConv", tensors, attributes), tensors)[0]
    bound = 1e-2 if dtype == torch.float16 else 1e-5
    np.testing.assert_allclose(ours, run_torch("SparseConv", tensors, attributes).numpy(), rtol=bound, atol=bound)
