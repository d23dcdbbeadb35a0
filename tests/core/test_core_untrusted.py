"""What the core library does with garbage: indices and counts on the device never fault, bad arguments are errors."""

from __future__ import annotations

import ctypes
import itertools

import pytest
import torch
from core_cases import dense, mask, parameters
from core_guarded import GuardedOps

from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops import core_library as core
from dyn2trt.ops import cuda
from dyn2trt.ops.core_tensors import CoreOps

FLAGS = (0, core.GENERIC_ONLY)
GARBAGE = ("random", "large", "negative", "poison")


def garbage(kind: str, *shape: int) -> torch.Tensor:
    """int32 far out of range, or a mix of everything."""
    largest = torch.iinfo(torch.int32)
    if kind == "random":
        values = torch.randint(largest.min, largest.max, shape)
        near = torch.randint(-9, 400, shape)
        return torch.where(torch.rand(shape) < 0.5, values, near).to(torch.int32)
    value = {"large": largest.max, "negative": largest.min, "poison": 0x7FFF7FFF}[kind]
    return torch.full(shape, value, dtype=torch.int32)


@pytest.mark.parametrize("flags", FLAGS, ids=["dispatched", "generic"])
@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("depthwise", [False, True], ids=["full", "depthwise"])
def test_conv_with_garbage_indices(core_path, kind, flags, depthwise):
    torch.manual_seed(0)
    for seed, dtype in enumerate((torch.float32, torch.float16)):
        ops = GuardedOps(core_path, flags=flags, seed=seed)
        weight, bias = parameters(
            [(3, 3, 16) if depthwise else (24, 3, 3, 16)], [9], dtype, torch.Generator().manual_seed(1)
        )
        rows = torch.randn(2 * 63, 16).to(dtype)
        slots, sites, count = garbage(kind, 2, 7, 9), garbage(kind, 2 * 63), garbage(kind, 2)
        geometry = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": 16 if depthwise else 1}
        out = ops.call("sparse_conv", rows, weight, bias, slots, sites, count, **geometry)
        assert out.shape == (126, 16 if depthwise else 24)


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_scatter_with_garbage_indices(core_path, kind, layout):
    torch.manual_seed(0)
    base = dense((2, 24, 7, 9), torch.float16, layout, torch.Generator().manual_seed(2))
    rows = torch.randn(126, 24).half()
    y = GuardedOps(core_path).call("mask_scatter", base, rows, garbage(kind, 126), garbage(kind, 2))
    if kind != "random":
        assert torch.equal(y, base)  # no site is real


@pytest.mark.parametrize("kind", GARBAGE)
def test_scatter_with_garbage_slots(core_path, kind):
    """The one-launch scatter, which only the plugins call with slots of their own."""
    torch.manual_seed(0)
    ops = GuardedOps(core_path)
    base, rows, slots = torch.randn(2, 24, 7, 9), torch.randn(126, 24), garbage(kind, 2, 7, 9)
    base, rows, slots, y = (ops.guarded(t) for t in (base, rows, slots, torch.full_like(base, torch.nan)))
    strides = (24 * 63, 63, 9, 1)
    params = core.MaskScatter(
        base=core.Dense(base.data_ptr(), 2, 24, 7, 9, *strides, core.NCHW),
        rows=rows.data_ptr(),
        set=core.SiteSet(None, slots.data_ptr(), None, 2, 7, 9),
        y=core.Dense(y.data_ptr(), 2, 24, 7, 9, *strides, core.NCHW),
    )
    ops.library.primitive("mask_scatter", params, 0)
    idle = ((slots < 0) | (slots >= 126)).unsqueeze(1).expand_as(y)
    assert torch.equal(y[idle], base[idle])
    assert not y.isnan().any()
    ops.release()


@pytest.mark.parametrize("name", ["gated_inverted_residual", "gated_basic_block", "gated_bottleneck"])
def test_composites_on_infinities(core_path, name):
    """Undefined inputs may hold anything; idle positions still pass through."""
    x = torch.full((1, 8, 5, 5), torch.inf)
    logits = mask("some", 1, 5, 5, torch.Generator().manual_seed(3))
    shapes = {
        "gated_inverted_residual": [(16, 1, 1, 8), (3, 3, 16), (8, 1, 1, 16)],
        "gated_basic_block": [(8, 3, 3, 8), (8, 3, 3, 8)],
        "gated_bottleneck": [(4, 1, 1, 8), (4, 3, 3, 4), (8, 1, 1, 4)],
    }[name]
    weights = parameters(shapes, [8] * len(shapes), torch.float32, torch.Generator().manual_seed(4))
    identity = [] if name == "gated_inverted_residual" else [x]
    y = GuardedOps(core_path).call(name, x, logits, *identity, *weights)
    idle = (logits < 0).expand_as(y)
    assert bool((y[idle] == torch.inf).all())


@pytest.fixture
def library(core_path):
    return core.CoreLibrary(core_path)


def gather_params(**changes: object) -> core.MaskGather:
    """Valid but for null pointers, which are checked after everything else."""
    params = core.MaskGather(
        mask_h=4,
        mask_w=5,
        geometry=core.Geometry(3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
        set=core.SiteSet(None, None, None, 2, 4, 5),
    )
    for path, value in changes.items():
        *parents, name = path.split("__")
        target = params
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)
    return params


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "count is null"),
        ({"dtype": 3}, "dtype is 0 (float32), 1 (float16) or 2 (bfloat16), not 3"),
        ({"mask_h": 3}, "gives an output grid of 4 x 5 for the set's grid 4 x 5, but mask is 3 x 5"),
        ({"geometry__stride_w": 0}, "strides lie in"),
        ({"geometry__kernel_h": 1 << 20}, "kernel sizes lie in"),
        ({"geometry__pad_top": -1}, "pads lie in"),
        ({"geometry__dilation_h": 0}, "dilations lie in"),
        ({"set__n": -1}, "negative size"),
        ({"set__h": 1 << 20, "set__w": 1 << 20}, "site ids are 32 bits"),
        ({"set__n": 1, "set__h": (1 << 31) - 100, "set__w": 1}, "site ids are 32 bits"),
        ({"rows": 16, "x__c": 1 << 21}, "x has 2097152 channels"),
        ({"rows": 16}, "x [0, 0, 0, 0] does not lie on the set's grid [2, 4, 5]"),
        ({"set__count": 2}, "no multiple of its element's 4 bytes"),
    ],
)
def test_gather_arguments(library, changes, message):
    with pytest.raises(Dyn2trtError) as caught:
        library.primitive("mask_gather", gather_params(**changes), 0)
    assert str(caught.value).startswith("mask_gather: ")
    assert message in str(caught.value)


def strided_basic_block(**changes: object) -> core.GatedBlock:
    """Valid, at addresses that nobody follows."""

    def tensor(address: int, c: int, size: int) -> core.Dense:
        return core.Dense(address, 1, c, size, size, c * size * size, size * size, size, 1, core.NCHW)

    params = core.GatedBlock(
        kind=1, stride_h=2, stride_w=2, x=tensor(256, 8, 6), identity=tensor(512, 16, 3), y=tensor(1024, 16, 3)
    )
    params.gate.given = 256
    params.convolutions[0] = core.Convolution(256, 256, 16)
    params.convolutions[1] = core.Convolution(256, 256, 16)
    for path, value in changes.items():
        *parents, name = path.split("__")
        target = params
        for parent in parents:
            target = target[int(parent)] if parent.isdigit() else getattr(target, parent)
        setattr(target, name, value)
    return params


def test_gated_block_workspace(library):
    params = strided_basic_block()
    needed = library.workspace(params)
    assert needed > 0
    with pytest.raises(Dyn2trtError, match=f"the workspace has {needed - 1} bytes; {needed} are needed"):
        library.gated_block(params, 256, needed - 1, 0)
    with pytest.raises(Dyn2trtError, match="workspace"):
        library.gated_block(params, 16, needed, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": 9}, "the kind of block is one of 3, not 9"),
        ({"gate__kind": -1}, "the kind of gate is one of 4, not -1"),
        ({"activation": 9}, "activation is"),
        ({"y__data": 512}, "y must be neither"),
        ({"y__w": 4}, "differ in shape"),
        ({"x__h": 9}, "gives y on [1, 5, 3], not [1, 3, 3]"),
        ({"kind": 0}, "InvertedResidual has strides 1 x 1, not 2 x 2"),
        ({"convolutions__0__c_out": 8}, "conv1 has 16 output channels (Co), not 8"),
        ({"convolutions__1__bias": None}, "conv2_bias is null"),
        ({"gate__given": None}, "mask is null"),
        ({"gate__kind": 1}, "gate_weight is null"),
        ({"gate__kind": 3}, "hidden units of the gate lie in"),
        ({"gate__kind": 3, "gate__hidden": 4, "gate__weight": 256, "gate__bias": 256}, "gate_pooled_weight is null"),
        ({"x__layout": 7}, "layout of x"),
        ({"x__stride_w": 2}, "stride along w is 1, not 2"),
        ({"variant": 99}, "there is no variant 99 for BasicBlock"),
    ],
)
def test_gated_block_arguments(library, changes, message):
    with pytest.raises(Dyn2trtError) as caught:
        library.gated_block(strided_basic_block(**changes), 256, 1 << 30, 0)
    assert message in str(caught.value)


def test_grids(library):
    """The shape queries agree with torch's convolutions."""
    for kernel, stride, pad, dilation in itertools.product((1, 3, 4), (1, 2), (0, 2), (1, 2)):
        geometry = core.Geometry(kernel, 1, stride, 1, pad, 0, pad, 0, dilation, 1)
        convolution = torch.nn.Conv2d(1, 1, (kernel, 1), (stride, 1), (pad, 0), (dilation, 1))
        out = (ctypes.c_int32(), ctypes.c_int32())
        arguments = [ctypes.byref(geometry), 20, 7, *map(ctypes.byref, out)]
        assert library.functions.dyn2trt_output_grid(*arguments) == 0
        assert (out[0].value, out[1].value) == convolution(torch.zeros(1, 1, 20, 7)).shape[2:]
        arguments = [ctypes.byref(geometry), out[0].value, 7, *map(ctypes.byref, out)]
        assert library.functions.dyn2trt_input_grid(*arguments) == 0
        assert 20 - stride < out[0].value <= 20


def test_library_must_match(tmp_path, core_path, monkeypatch):
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    with pytest.raises(Dyn2trtError, match="cannot load the core library"):
        core.CoreLibrary(broken)
    monkeypatch.setattr(core, "VERSION", 99)
    with pytest.raises(Dyn2trtError, match="this package expects 99"):
        core.CoreLibrary(core_path)
    monkeypatch.setenv(core.ENVIRONMENT, str(tmp_path / "absent.so"))
    with pytest.raises(Dyn2trtError, match="which is no file"):
        core.find_core_library()


def test_tensors_must_fit(core_path):
    """The binding's own checks: types, shapes, and tensors that it has to make contiguous."""
    ops = CoreOps(core.CoreLibrary(core_path), stream=lambda: 0)
    rows, bias = torch.randn(20, 8), torch.zeros(4)
    with pytest.raises(ValueError, match="weight is"):
        ops.sparse_conv(rows, torch.randn(4, 8), bias)
    with pytest.raises(TypeError, match="another alike"):
        ops.sparse_conv(rows, torch.randn(4, 1, 1, 8).half(), bias)
    with pytest.raises(TypeError, match="mask is float32"):
        ops.mask_gather(torch.zeros(1, 1, 4, 5, dtype=torch.float16))
    x = torch.randn(2, 8, 5, 4).transpose(2, 3)
    gathered = ops.mask_gather(torch.ones(2, 1, 4, 5), x)[3]
    assert torch.equal(gathered, x.permute(0, 2, 3, 1).reshape(40, 8))
    expanded = torch.randn(1, 8, 1, 1).expand(2, 8, 4, 5)
    assert torch.equal(
        ops.mask_gather(torch.ones(2, 1, 4, 5), expanded)[3], expanded.permute(0, 2, 3, 1).reshape(40, 8)
    )


def test_without_the_cuda_library(monkeypatch, tmp_path):
    """The reference runs instead, and a warning says what to do."""
    cuda._ops.cache_clear()
    monkeypatch.setattr(cuda, "load_core_library", lambda: None)
    with pytest.warns(UserWarning, match="slow reference"):
        assert cuda._ops() is cuda.reference_blocks
    cuda._ops.cache_clear()
