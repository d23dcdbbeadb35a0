"""The basic block by tiles on the CPU emulator, against float64: every variant, awkward sizes, masks, gates, seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from core_cases import MASKS
from emulated_tiles import TileLibrary
from tile_case import Case, run

FP16, BF16 = torch.float16, torch.bfloat16
VARIANTS = ("tile 8x8 mma", "tile 8x16 mma")

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def library(core_path: Path) -> TileLibrary:
    return TileLibrary(core_path)


def test_names(library):
    assert tuple(library.variants) == VARIANTS


@every_variant
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [FP16, BF16], ids=str)
def test_every_variant(library, variant, dtype, stride):
    run(library, variant, Case(dtype=dtype, stride=stride))
