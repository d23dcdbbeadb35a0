"""MaskGather of the core library on the CPU emulator: site sets, and x gathered there."""

from __future__ import annotations

import pytest
import torch
from core_cases import DTYPES, LAYOUTS, MASKS, dense, mask
from core_guarded import GuardedOps

from dyn2trt.ops.geometry import POINTWISE, Geometry, same3x3
from dyn2trt.ops.reference import read_sites

GEOMETRIES = {
    "1x1": POINTWISE,
    "3x3": same3x3(),
    "3x3 stride 2": same3x3((2, 2)),
    "1x1 stride 2": Geometry((1, 1), (2, 2)),
    "two 3x3": same3x3().stacked_on(same3x3()),
    "strided 3x3, then 3x3": same3x3().stacked_on(same3x3((2, 2))),
    "lopsided": Geometry((2, 5), (1, 3), (0, 1, 2, 0), (2, 1)),
    "dilated": Geometry((3, 3), (1, 1), (3, 2, 3, 2), (3, 2)),
    "wide": Geometry((1, 31), (1, 1), (0, 15, 0, 15)),
}


def check(ops: GuardedOps, logits: torch.Tensor, x: torch.Tensor, geometry: Geometry) -> None:
    """The set holds the right sites, in 8x8 tiles, and rows hold x there."""
    n, c, h, w = x.shape
    sites, slots, count, rows = ops.call("mask_gather", logits, x, **geometry.attributes)
    members = read_sites(logits[:, 0] >= 0, geometry, (h, w))
    assert torch.equal(count, members.sum((1, 2), dtype=torch.int32))
    assert torch.equal(slots >= 0, members)
    for image in range(n):
        first = image * h * w
        used = sites[first : first + count[image]].long()
        assert torch.equal(slots.view(-1)[used].long(), first + torch.arange(int(count[image])))
        y, column = used % (h * w) // w, used % w
        tile_major = ((y // 8 * ((w + 7) // 8) + column // 8) * 8 + y % 8) * 8 + column % 8
        assert bool((tile_major.diff() > 0).all())
        assert torch.equal(rows[first : first + count[image]], x.permute(0, 2, 3, 1).reshape(-1, c)[used])


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 7, 5), (3, 16, 24), (1, 33, 70)])
def test_geometries(core_path, name, grid):
    generator = torch.Generator().manual_seed(len(name))
    geometry = GEOMETRIES[name]
    n, mask_h, mask_w = grid
    for seed, kind in enumerate(MASKS):
        ops = GuardedOps(core_path, seed=seed)
        smallest = geometry.smallest_input(mask_h, mask_w)
        # A stride leaves inputs at the end unread: with and without them.
        h, w = (max(size + seed % stride, 1) for size, stride in zip(smallest, geometry.strides, strict=True))
        if geometry.output_size(h, w) != (mask_h, mask_w):
            continue
        check(
            ops,
            mask(kind, n, mask_h, mask_w, generator),
            dense((n, 3, h, w), DTYPES[seed % 3], "nchw", generator),
            geometry,
        )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts(core_path, layout, dtype):
    generator = torch.Generator().manual_seed(1)
    for seed, channels in enumerate((1, 3, 8, 40, 64)):
        x = dense((2, channels, 9, 13), dtype, layout, generator)
        check(GuardedOps(core_path, seed=seed), mask("some", 2, 9, 13, generator), x, same3x3())


@pytest.mark.parametrize(("h", "w"), [(130, 130), (600, 500), (3, 20000), (20000, 3)], ids=str)
@pytest.mark.parametrize("name", ["1x1", "3x3", "3x3 stride 2"])
def test_large_planes(core_path, h, w, name):
    """Blocks that share an image, several chunks of tiles, masks beyond what shared memory holds."""
    generator = torch.Generator().manual_seed(2)
    geometry = GEOMETRIES[name]
    n = 2 if h == 130 else 1
    logits = mask("some", n, *geometry.output_size(h, w), generator)
    check(GuardedOps(core_path), logits, dense((n, 1, h, w), torch.float16, "nhwc", generator), geometry)


def test_without_x(core_path):
    """The grid is the smallest that yields the mask's; rows are empty."""
    generator = torch.Generator().manual_seed(3)
    logits = mask("some", 2, 6, 5, generator)
    _, slots, count, rows = GuardedOps(core_path).call("mask_gather", logits, kernel_shape=(3, 3), strides=(2, 2))
    members = read_sites(logits[:, 0] >= 0, Geometry((3, 3), (2, 2)), (13, 11))
    assert torch.equal(slots >= 0, members)
    assert torch.equal(count, members.sum((1, 2), dtype=torch.int32))
    assert rows.numel() == 0


def test_threshold_and_empty_batch(core_path):
    ops = GuardedOps(core_path)
    logits = torch.tensor([0.1, 0.5, 0.7, float("inf")]).view(1, 1, 2, 2)
    assert ops.call("mask_gather", logits, threshold=0.5)[2].tolist() == [3]
    assert ops.call("mask_gather", logits, threshold=float("nan"))[2].tolist() == [0]
    assert ops.call("mask_gather", torch.empty(0, 1, 4, 4))[2].numel() == 0
    assert ops.call("mask_gather", torch.empty(2, 1, 0, 4))[2].tolist() == [0, 0]


def test_order_of_threads_does_not_matter(core_path):
    generator = torch.Generator().manual_seed(4)
    logits = mask("blob", 2, 40, 33, generator)
    results = [
        GuardedOps(core_path, seed=seed).call("mask_gather", logits, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
        for seed in range(8)
    ]
    for sites, slots, count, _ in results[1:]:
        assert torch.equal(slots, results[0][1])
        assert torch.equal(count, results[0][2])
        for image in range(2):
            used = slice(image * 40 * 33, image * 40 * 33 + int(count[image]))
            assert torch.equal(sites[used], results[0][0][used])
