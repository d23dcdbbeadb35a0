"""Activity on odd sizes, strides and layer gates: halo, executed operations, summary, and the file of decisions."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dyn2trt import gates
from dyn2trt.activity.archive import read_activity, write_activity
from dyn2trt.activity.halo import halo
from dyn2trt.activity.summary import executed_share, summarise_activity
from dyn2trt.activity.work import executed_macs, total_macs
from dyn2trt.blocks import BasicBlock, Bottleneck, GatedBlock, InvertedResidual
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network
from dyn2trt.export.metadata import ExportMetadata, parse_metadata
from dyn2trt.macs import count_macs

BLOCKS = {
    "inverted residual": lambda: InvertedResidual(4, 4),
    "basic, stride 2": lambda: BasicBlock(4, 6, 2),
    "bottleneck": lambda: Bottleneck(8, 2),
    "bottleneck, stride 2": lambda: Bottleneck(4, 2, 2),
}


def exported(block: GatedBlock, size: tuple[int, int], folder: Path) -> ExportMetadata:
    channels = block.stages()[0].convolution.in_channels
    shape = (1, channels, *size)
    return export_network(nn.Sequential(block).eval(), input_shape=shape, path=folder / "model.onnx")


def random_mask(n: int, grid: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, *grid)) < rng.random()


def test_an_open_gate_executes_all_of_a_strided_bottleneck_and_no_more(tmp_path: Path) -> None:
    (block,) = exported(Bottleneck(4, 2, 2), (7, 7), tmp_path).blocks
    assert (block.grid, block.halo_grid, block.halo_stride) == ((4, 4), (7, 7), 2)
    everything = np.ones((1, 1, 4, 4), bool)
    assert halo(everything, (7, 7), stride=2).sum() == 49
    assert executed_macs(block, everything).tolist() == [block.macs_total]
    assert summarise_activity([block], [everything]).mac_fraction == 1


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS.keys())
@pytest.mark.parametrize("size", [(7, 7), (5, 8), (8, 9), (1, 3), (1, 1)], ids=str)
def test_what_a_file_says_costs_what_training_counts(make: object, size: tuple[int, int], tmp_path: Path) -> None:
    made = make()  # type: ignore[operator]
    (block,) = exported(made, size, tmp_path).blocks
    (counted,) = count_macs(nn.Sequential(made), (1, made.stages()[0].convolution.in_channels, *size)).blocks
    assert total_macs(block, block.grid) == block.macs_total == counted.macs_total
    for seed in range(5):
        mask = random_mask(3, block.grid, seed)
        assert executed_macs(block, mask).tolist() == counted.active(torch.from_numpy(mask)).tolist()


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)), stride=st.sampled_from([1, 2, 3]), seed=st.integers(0, 99)
)
def test_both_halos_agree(size: tuple[int, int], stride: int, seed: int) -> None:
    mask = random_mask(2, ((size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1), seed)
    expected = gates.halo(torch.from_numpy(mask), size, stride=stride).numpy()
    assert np.array_equal(halo(mask, size, stride=stride), expected)


def test_a_halo_on_a_grid_that_the_size_does_not_give_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an input of \(8, 8\) gives a grid of \(4, 4\) at stride 2"):
        halo(np.ones((1, 1, 5, 4), bool), (8, 8), stride=2)


def test_a_file_from_before_strides_were_written_tells_them_by_its_grids(tmp_path: Path) -> None:
    metadata = exported(Bottleneck(4, 2, 2), (7, 8), tmp_path)
    document = json.loads(metadata.to_json())
    del document["blocks"][0]["halo_stride"]
    (old,) = parse_metadata(json.dumps(document)).blocks
    mask = random_mask(4, old.grid, 0)
    assert executed_macs(old, mask).tolist() == executed_macs(metadata.blocks[0], mask).tolist()


def test_a_layer_that_runs_costs_all_and_one_that_does_not_costs_nothing(tmp_path: Path) -> None:
    (block,) = exported(Bottleneck(4, 2, 2, mask_unit="layer"), (7, 7), tmp_path).blocks
    assert block.gate == "layer"
    ran = np.broadcast_to(np.array([True, False, True, True])[:, None, None, None], (4, 1, *block.grid))
    assert executed_macs(block, ran).tolist() == [block.macs_total, 0, block.macs_total, block.macs_total]
    (row,) = summarise_activity([block], [ran]).blocks
    assert row.site_fraction == row.mac_fraction == 0.75
    assert executed_share([block], [ran]) == [1, 0, 1, 1]


@pytest.mark.parametrize("size", [(14, 10), (28, 28)], ids=str)
def test_at_another_size_shares_are_of_the_work_at_that_size(size: tuple[int, int], tmp_path: Path) -> None:
    (block,) = exported(Bottleneck(4, 2, 2), (7, 7), tmp_path).blocks
    everything = np.ones((2, 1, size[0] // 2, size[1] // 2), bool)
    (row,) = summarise_activity([block], [everything]).blocks
    assert row.mac_fraction == 1
    assert row.macs_total == size[0] * size[1] * block.macs_per_halo_site + everything[0].sum() * (
        block.macs_per_active_site
    )


def test_decisions_survive_their_file(tmp_path: Path) -> None:
    file = tmp_path / "activity.npz"
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    masks = [random_mask(2, (4 - i % 3, 5), i) for i in range(11)]  # as text, 10 comes before 2
    coefficients = [np.full((2, 3), 0.5, np.float32)]
    write_activity(file, images, masks, coefficients)
    found = read_activity(file)
    assert np.array_equal(found.images, images)
    assert len(found.masks) == 11
    assert all(mask.dtype == bool and np.array_equal(mask, m) for mask, m in zip(found.masks, masks, strict=True))
    assert np.array_equal(found.coefficients[0], coefficients[0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"masks": [np.ones((3, 1, 2, 2), bool)]}, "masks of 3 images, but 2 pictures"),
        ({"masks": [], "coefficients": [np.ones((1, 2), np.float32)]}, "coefficients of 1 images, but 2 pictures"),
        ({"images": np.zeros((2, 4, 4, 3)), "masks": []}, "images float64"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(arrays: dict, message: str, tmp_path: Path) -> None:
    write_activity(tmp_path / "a.npz", **{"images": np.zeros((2, 4, 4, 3), np.uint8), **arrays})
    with pytest.raises(Dyn2trtError, match=message):
        read_activity(tmp_path / "a.npz")
    with pytest.raises(Dyn2trtError, match=r"cannot read .*absent"):
        read_activity(tmp_path / "absent.npz")


def test_activity_needs_numpy_alone() -> None:
    code = (
        "import sys; import dyn2trt.activity.archive, dyn2trt.activity.summary; "
        "sys.exit(' '.join({'torch', 'onnx', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_training_executes_what_a_file_counts_with_a_gradient() -> None:
    block = replace(count_macs(nn.Sequential(Bottleneck(4, 2, 2)), (1, 4, 7, 7)).blocks[0])
    mask = torch.from_numpy(random_mask(3, block.grid, 1)).float().requires_grad_()
    executed = block.executed(mask)
    assert executed.tolist() == executed_macs(block, mask.detach().numpy() > 0).tolist()
    (gradient,) = torch.autograd.grad(executed.sum(), mask)
    assert torch.equal(gradient, torch.full_like(gradient, block.macs_per_active_site))
