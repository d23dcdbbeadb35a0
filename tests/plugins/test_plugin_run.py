"""The TensorRT plugins, run on CPU memory over the CPU emulator, against the torch ops."""

from __future__ import annotations

import itertools

import emulated_plugins
import pytest
import torch
from plugin_driver import Driver, Plugin

import dyn2trt.ops  # noqa: F401  (registers torch.ops.dyn2trt)

OPS = torch.ops.dyn2trt
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
CANARY = 64


@pytest.fixture(scope="module")
def driver(plugins_path):
    return Driver(emulated_plugins.build_driver(), plugins_path)


def tensor(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(0.5).to(dtype)


def logits(*shape, active=0.3, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + active - 1.0


def poisoned(*shape, dtype=torch.float32):
    return torch.full(shape, -7777 if dtype == torch.int32 else torch.nan, dtype=dtype)


def run(plugin: Plugin, inputs, outputs):
    """Configure for these shapes and run in a context, with the workspace asked for and nothing beyond it."""
    assert plugin.unsupported(inputs, outputs) is None
    size = plugin.configure(inputs, outputs)
    assert size is not None
    workspace = torch.full((size + CANARY,), 0xAB, dtype=torch.uint8)
    assert plugin.attached().run(inputs, outputs, workspace) == 0
    assert (workspace[size:] == 0xAB).all()
    return outputs


def assert_close(came, expected, dtype):
    assert came.shape == expected.shape
    error = (came.double() - expected.double()).norm() / expected.double().norm()
    assert error <= {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]


def inverted_residual(n=2, c=8, h=6, w=5, dtype=torch.float32):
    e = 2 * c
    weights = [(e, 1, 1, c), (e,), (3, 3, e), (e,), (c, 1, 1, e), (c,)]
    return [tensor(n, c, h, w, dtype=dtype), logits(n, 1, h, w), *_weights(weights, dtype)]


def basic_block(n=2, c=8, h=6, w=8, stride=1, dtype=torch.float32):
    ho, wo, co = -(-h // stride), -(-w // stride), c * stride
    weights = [(co, 3, 3, c), (co,), (co, 3, 3, co), (co,)]
    x, identity = tensor(n, c, h, w, dtype=dtype), tensor(n, co, ho, wo, dtype=dtype, seed=2)
    return [x, logits(n, 1, ho, wo), identity, *_weights(weights, dtype)]


def bottleneck(n=2, c=8, h=6, w=8, stride=1, dtype=torch.float32):
    ho, wo, b, co = -(-h // stride), -(-w // stride), 8, 4 * c
    weights = [(b, 1, 1, c), (b,), (b, 3, 3, b), (b,), (co, 1, 1, b), (co,)]
    x, identity = tensor(n, c, h, w, dtype=dtype), tensor(n, co, ho, wo, dtype=dtype, seed=2)
    return [x, logits(n, 1, ho, wo), identity, *_weights(weights, dtype)]


def _weights(shapes, dtype):
    return [tensor(*shape, dtype=dtype, seed=10 + i) for i, shape in enumerate(shapes)]


COMPOSITES = {
    "GatedInvertedResidual": (inverted_residual, OPS.gated_inverted_residual, {}),
    "GatedBasicBlock": (basic_block, OPS.gated_basic_block, {"stride": (1, 2)}),
    "GatedBottleneck": (bottleneck, OPS.gated_bottleneck, {"stride": (1, 2)}),
}
CASES = [(name, stride) for name in COMPOSITES for stride in ((1,) if name == "GatedInvertedResidual" else (1, 2))]


def composite(name, stride, **sizes):
    """Inputs, attributes and the torch op of a composite."""
    make, op, _ = COMPOSITES[name]
    strided = {} if name == "GatedInvertedResidual" else {"stride": stride}
    attributes = {"strides": [stride, stride]} if strided else {}
    return make(**strided, **sizes), attributes, op


def like_output(inputs, name):
    return poisoned(*inputs[0 if name == "GatedInvertedResidual" else 2].shape, dtype=inputs[0].dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "stride"), CASES)
def test_composite_is_the_torch_op(driver, name, stride, dtype):
    inputs, attributes, op = composite(name, stride, dtype=dtype)
    (y,) = run(driver.plugin(name, **attributes), inputs, [like_output(inputs, name)])
    assert_close(y, op(*inputs, **attributes), dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "stride"), CASES)
def test_channels_last_gives_the_same(driver, name, stride, dtype):
    inputs, attributes, op = composite(name, stride, dtype=dtype)
    last = [t.contiguous(memory_format=torch.channels_last) if t.shape[0] == 2 and t.dim() == 4 else t for t in inputs]
    last[1] = inputs[1]
    out = like_output(inputs, name).contiguous(memory_format=torch.channels_last)
    (y,) = run(driver.plugin(name, **attributes), last, [out])
    assert_close(y, op(*inputs, **attributes), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "stride"), CASES)
def test_whole_images_skip_a_layer(driver, name, stride, dtype):
    """As ConvNet-AIG's gates decide: all positions of an image or none, in one batch."""
    inputs, attributes, op = composite(name, stride, n=4, dtype=dtype)
    inputs[1] = torch.tensor([1.0, -1.0, -1.0, 1.0]).view(4, 1, 1, 1).expand_as(inputs[1]).contiguous()
    (y,) = run(driver.plugin(name, **attributes), inputs, [like_output(inputs, name)])
    assert_close(y, op(*inputs, **attributes), dtype)
    idle = inputs[0] if name == "GatedInvertedResidual" else inputs[2].relu()
    assert torch.equal(y[1:3], idle[1:3])


@pytest.mark.parametrize("name", ["GatedInvertedResidual", "GatedBasicBlock", "GatedBottleneck"])
def test_masks_that_shrink_from_unit_to_unit(driver, name):
    """As SACT's do: three units in a row on fewer positions each, those that are done keep their values."""
    inputs, attributes, op = composite(name, 1, **({"c": 32} if name == "GatedBottleneck" else {}))
    if name == "GatedBottleneck":  # as many outputs as inputs
        inputs = [*inputs[:7], inputs[7][:32].contiguous(), inputs[8][:32].contiguous()]
    x = expected = inputs[0].relu()
    everywhere = inputs[1]
    for threshold in (-0.4, 0.0, 0.2):
        masks = everywhere - threshold
        given = [x, masks, *inputs[2:]] if name == "GatedInvertedResidual" else [x, masks, x, *inputs[3:]]
        (y,) = run(driver.plugin(name, **attributes), given, [poisoned(*x.shape)])
        reference = [expected if value is x else value for value in given]
        expected = op(*reference, **attributes)
        assert_close(y, expected, torch.float32)
        done = (masks < 0).expand_as(x)
        assert torch.equal(y[done], x[done])
        x = y


@pytest.mark.parametrize("active", [0.0, 1.0])
@pytest.mark.parametrize(("name", "stride"), CASES)
def test_nothing_and_everything_active(driver, name, stride, active):
    inputs, attributes, op = composite(name, stride)
    inputs[1] = torch.full_like(inputs[1], active - 0.5)
    (y,) = run(driver.plugin(name, **attributes), inputs, [like_output(inputs, name)])
    assert_close(y, op(*inputs, **attributes), torch.float32)


def test_threshold_and_activation(driver):
    inputs = inverted_residual()
    attributes = {"threshold": -0.25, "activation": "hard_swish"}
    (y,) = run(driver.plugin("GatedInvertedResidual", **attributes), inputs, [torch.empty_like(inputs[0])])
    expected = OPS.gated_inverted_residual(*inputs, **attributes)
    assert_close(y, expected, torch.float32)
    assert not torch.allclose(expected, OPS.gated_inverted_residual(*inputs))


def test_a_plan_and_a_clone_keep_the_attributes(driver):
    inputs = inverted_residual()
    attributes = {"threshold": -0.25, "activation": "hard_swish"}
    plugin = driver.plugin("GatedInvertedResidual", **attributes)
    expected = OPS.gated_inverted_residual(*inputs, **attributes)
    for again in (plugin.deserialized(), plugin.clone(), plugin.clone().deserialized().attached()):
        (y,) = run(again, inputs, [torch.empty_like(inputs[0])])
        assert_close(y, expected, torch.float32)


def test_geometry_survives_a_plan(driver):
    mask, x = logits(2, 1, 4, 3), tensor(2, 3, 7, 5)
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    plugin = driver.plugin("MaskGather", **attributes).deserialized()
    outputs = gather_outputs(2, 7, 5, 3)
    sites, _, count, _ = run(plugin, [mask, x], outputs)
    assert set(used(sites, count)) == set(OPS.mask_gather(mask, x, **attributes)[0].tolist())


@pytest.mark.parametrize(("name", "stride"), CASES)
def test_one_context_through_several_shapes(driver, name, stride):
    """The workspace is what the largest batch asks for, as TensorRT gives it at every batch."""
    largest, attributes, op = composite(name, stride, n=4)
    plugin = driver.plugin(name, **attributes)
    size = plugin.configure(largest, [like_output(largest, name)])
    workspace = torch.full((size + CANARY,), 0xAB, dtype=torch.uint8)
    context = plugin.attached()
    for n in (1, 4, 2):
        inputs = [t[:n] if t.dim() == 4 and t.shape[0] == 4 and i < 3 else t for i, t in enumerate(largest)]
        inputs = [t.contiguous() for t in inputs]
        y = like_output(inputs, name)
        assert context.run(inputs, [y], workspace) == 0
        assert_close(y, op(*inputs, **attributes), torch.float32)
    assert (workspace[size:] == 0xAB).all()


def gather_outputs(n, h, w, c, dtype=torch.float32):
    p = n * h * w
    index = {"dtype": torch.int32}
    return [poisoned(p, **index), poisoned(n, h, w, **index), poisoned(n, **index), poisoned(p, c, dtype=dtype)]


def used(sites, count):
    """Sites in use of a site set with capacity."""
    return [s for n, k in zip(sites.view(len(count), -1), count, strict=True) for s in n[:k].tolist()]


@pytest.mark.parametrize("with_x", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_mask_gather(driver, with_x, stride):
    n, c, ho, wo = 2, 5, 4, 3
    attributes = {"kernel_shape": [3, 3], "strides": [stride, stride], "pads": [1, 1, 1, 1], "threshold": 0.1}
    h, w = (ho, wo) if stride == 1 else (2 * ho - 1, 2 * wo - 1)
    mask, x = logits(n, 1, ho, wo, active=0.25), tensor(n, c, h, w)
    inputs = [mask, x] if with_x else [mask]
    outputs = gather_outputs(n, h, w, c if with_x else 0)
    sites, slots, count, rows = run(driver.plugin("MaskGather", **attributes), inputs, outputs)
    expected, expected_slots, expected_count, _ = OPS.mask_gather(*inputs, **attributes)
    assert sorted(used(sites, count)) == sorted(expected.tolist())
    assert count.tolist() == expected_count.tolist()
    assert ((slots >= 0) == (expected_slots >= 0)).all()
    for site in expected.tolist():
        row = int(slots.flatten()[site])
        assert sites[row] == site
        if with_x:
            assert torch.equal(rows[row], x.permute(0, 2, 3, 1).reshape(-1, c)[site])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("depthwise", [False, True])
def test_gather_convolve_scatter(driver, dtype, depthwise):
    """A 3×3 through the three primitives, against the torch ops composed in the same way."""
    n, c, h, w, co = 2, 8, 5, 6, 8
    geometry = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    convolution = {**geometry, "group": 0 if depthwise else 1, "activation": "relu"}
    mask, x, base = logits(n, 1, h, w), tensor(n, c, h, w, dtype=dtype), tensor(n, co, h, w, dtype=dtype, seed=3)
    weight = tensor(*((3, 3, c) if depthwise else (co, 3, 3, c)), dtype=dtype, seed=4)
    bias = tensor(co, dtype=dtype, seed=5)

    sites, _, count, _ = run(driver.plugin("MaskGather"), [mask], gather_outputs(n, h, w, 0))
    _, slots, _, rows = run(driver.plugin("MaskGather", **geometry), [mask, x], gather_outputs(n, h, w, c, dtype))
    given = [rows, weight, bias, slots, sites, count]
    (out,) = run(driver.plugin("SparseConv", **convolution), given, [poisoned(n * h * w, co, dtype=dtype)])
    scatter = driver.plugin("MaskScatter", reduction="add", activation="relu6")
    (y,) = run(scatter, [base, out, sites, count], [torch.full_like(base, torch.nan)])

    sites, _, count, _ = OPS.mask_gather(mask)
    _, slots, _, rows = OPS.mask_gather(mask, x, **geometry)
    out = OPS.sparse_conv(rows, weight, bias, slots, sites, count, **convolution)
    assert_close(y, OPS.mask_scatter(base, out, sites, count, reduction="add", activation="relu6"), dtype)


def test_a_pointwise_convolution_needs_no_set(driver):
    rows, weight, bias = tensor(40, 8), tensor(16, 1, 1, 8, seed=1), tensor(16, seed=2)
    (out,) = run(driver.plugin("SparseConv", activation="relu"), [rows, weight, bias], [poisoned(40, 16)])
    assert_close(out, OPS.sparse_conv(rows, weight, bias, activation="relu"), torch.float32)


@pytest.mark.parametrize(
    ("op", "attributes", "said"),
    [
        ("GatedBasicBlock", {"strides": [1, 2]}, "strides is [1, 1] or [2, 2], not [1, 2]"),
        ("GatedBasicBlock", {"strides": [2]}, "strides has 2 elements, not 1"),
        ("GatedBottleneck", {"activation": "gelu"}, "activation is one of none, relu, relu6, hard_swish, not 'gelu'"),
        ("GatedInvertedResidual", {"threshold": 1}, "threshold is float32, not int32"),
        (
            "GatedInvertedResidual",
            {"strides": [1, 1]},
            "there is no attribute strides; there are threshold, activation",
        ),
        ("MaskScatter", {"reduction": "mul"}, "reduction is one of add, none, not 'mul'"),
        ("MaskGather", {"kernel_shape": [0, 3]}, "kernel_shape is at least 1, not 0"),
        ("SparseConv", {"group": -1}, "group is at least 0, not -1"),
    ],
)
def test_wrong_attributes_make_no_plugin(driver, capfd, op, attributes, said):
    assert driver.plugin(op, **attributes) is None
    assert capfd.readouterr().err == f"dyn2trt::{op}: node test: {said}\n"


def changed(inputs, position, replacement):
    return [*inputs[:position], replacement, *inputs[position + 1 :]]


@pytest.mark.parametrize(
    ("position", "replacement", "said"),
    [
        (1, logits(2, 1, 6, 4), "mask is [N=2, 1, H=6, W=5], not 2x1x6x4"),
        (2, tensor(16, 1, 1, 4), "expand_weight is [E=16, 1, 1, C=8], not 16x1x1x4"),
        (4, tensor(3, 16, 3), "depthwise_weight is [3, 3, E=16], not 3x16x3"),
        (7, tensor(8, 1), "project_bias is [C=8], not 8x1"),
    ],
)
def test_wrong_shapes_are_refused(driver, capfd, position, replacement, said):
    inputs = changed(inverted_residual(), position, replacement)
    plugin = driver.plugin("GatedInvertedResidual")
    assert plugin.configure(inputs, [inputs[0].clone()]) is None
    assert said in capfd.readouterr().err
    assert plugin.run(inputs, [inputs[0].clone()], torch.empty(1 << 20, dtype=torch.uint8)) == 1


def test_site_sets_of_another_size_are_refused(driver, capfd):
    """What would read or write beyond its tensor."""
    base, sites, count = tensor(2, 8, 4, 4), torch.zeros(31, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    assert driver.plugin("MaskScatter").configure([base, tensor(31, 8), sites, count], [base]) is None
    assert "base of 2x8x4x4 takes 32 rows, not 31" in capfd.readouterr().err
    slots, weight, bias = torch.zeros(2, 4, 4, dtype=torch.int32), tensor(8, 3, 3, 8), tensor(8)
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    given = [tensor(31, 8), weight, bias, slots, torch.zeros(32, dtype=torch.int32), count]
    assert driver.plugin("SparseConv", **same).configure(given, [tensor(32, 8)]) is None
    assert "the grid 2x4x4 takes 32 rows, not 31" in capfd.readouterr().err
    assert driver.plugin("SparseConv").configure(given, [tensor(32, 8)]) is None
    assert "kernel_shape is 1x1, the weight is 8x3x3x8" in capfd.readouterr().err
    assert driver.plugin("SparseConv", **same).configure(given[:3], [tensor(31, 8)]) is None
    assert "only a pointwise 1x1 keeps its set" in capfd.readouterr().err
    gather = driver.plugin("MaskGather", **same)
    assert gather.configure([logits(1, 1, 4, 4), tensor(1, 8, 5, 4)], gather_outputs(1, 5, 4, 8)) is None
    assert "a mask of 1x1x5x4, not 1x1x4x4" in capfd.readouterr().err


@pytest.mark.parametrize("garbage", [-(2**31), -1, 17, 2**31 - 1])
def test_garbage_in_a_site_set_is_harmless(driver, garbage):
    """TensorRT may time a plugin on undefined inputs."""
    n, c, h, w = 2, 8, 4, 4
    sites, slots, count = (torch.full(s, garbage, dtype=torch.int32) for s in ((n * h * w,), (n, h, w), (n,)))
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    given = [tensor(n * h * w, c), tensor(c, 3, 3, c), tensor(c), slots, sites, count]
    run(driver.plugin("SparseConv", **same), given, [poisoned(n * h * w, c)])
    base = tensor(n, c, h, w)
    run(driver.plugin("MaskScatter"), [base, tensor(n * h * w, c), sites, count], [torch.empty_like(base)])


def test_formats(driver):
    plugin = driver.plugin("GatedInvertedResidual")
    last = torch.channels_last
    for dtype, c in itertools.product(DTYPES, (8, 12)):
        inputs = inverted_residual(c=c, dtype=dtype)
        y = torch.empty_like(inputs[0])
        assert plugin.unsupported(inputs, [y]) is None
        # Channels-last from 16-bit types whose channels fill the vectors.
        whole = changed(inputs, 0, inputs[0].contiguous(memory_format=last))
        expected = None if dtype != torch.float32 and c == 8 else 0
        assert plugin.unsupported(whole, [y.contiguous(memory_format=last)]) == expected
        # x and y in the same format, weights in the type of x, logits in float32.
        if expected is None:
            assert plugin.unsupported(whole, [y]) == len(inputs)
        assert plugin.unsupported(changed(inputs, 1, inputs[1].half()), [y]) == 1
        other = torch.float16 if dtype != torch.float16 else torch.float32
        assert plugin.unsupported(changed(inputs, 2, inputs[2].to(other)), [y]) == 2
