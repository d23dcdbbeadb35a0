"""The CPU emulator's clusters, launches that overlap, and mutations."""

from __future__ import annotations

from pathlib import Path

import emulated_core
import pytest
import torch
from mutations import places, taken_out
from test_emulator import Harness

KERNELS = Path(__file__).parents[1] / "support" / "cluster_kernels.cu"


@pytest.fixture(scope="module")
def harness() -> Harness:
    if emulated_core.compiler() is None:
        pytest.skip("no C++ compiler: set CXX or install g++")
    return Harness(emulated_core.build_library("libcluster_kernels.so", (KERNELS,)))


def opposite(harness: Harness, seed: int) -> tuple[str, bool]:
    given, out = torch.randn(3, 4, 512), torch.empty(3, 4, 512)
    return harness.run("opposite", given, out, blocks=12, seed=seed), torch.equal(out, given.flip(1))


def test_blocks_of_a_cluster_read_each_other(harness):
    assert all(opposite(harness, seed) == ("", True) for seed in range(8))


def test_only_inside_the_cluster(harness):
    given, out = torch.randn(4, 512), torch.empty(4, 512)
    assert "block 4 of a cluster of 4" in harness.run("opposite", given, out, variant=1, blocks=4)


def test_grid_of_whole_clusters(harness):
    given, out = torch.randn(6, 512), torch.empty(6, 512)
    assert "clusters of 4 blocks" in harness.run("opposite", given, out, blocks=6)


def test_a_missing_cluster_barrier_shows(harness):
    found = places(harness.library, lambda: opposite(harness, 0))
    assert [place.split()[0] for place in found] == ["barrier.cluster"] * 2
    for barrier in range(2):
        with taken_out(harness.library, barrier):
            assert not all(opposite(harness, seed) == ("", True) for seed in range(8))
    assert opposite(harness, 0) == ("", True)


def test_a_launch_that_overlaps_waits_before_it_reads(harness):
    given, out = torch.randn(5, 128), torch.empty(5, 128)
    found = places(harness.library, lambda: harness.run("overlap", given, out, blocks=5))
    assert torch.equal(out, given)
    assert [place.split()[0] for place in found] == ["griddepcontrol.wait"]
    with taken_out(harness.library, 0):
        assert "outside its tensors" in harness.run("overlap", given, out, blocks=5)
    assert harness.run("overlap", given, out, blocks=5) == ""
