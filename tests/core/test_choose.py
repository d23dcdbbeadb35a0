"""Which variant runs a block: the rules, on lists and tables made for the test."""

from __future__ import annotations

import ctypes
from pathlib import Path

import emulated_core
import pytest

from dyn2trt.contract import BLOCKS
from dyn2trt.ops.core_library import CHAIN, Convolution, CoreLibrary, Dense, GatedBlock

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture(scope="module")
def choose():
    """``choose(block, architecture)``: a name among those of choose_entry.cpp."""
    if emulated_core.compiler() is None:
        pytest.skip("no C++ compiler: set CXX or install g++")
    sources = (SUPPORT / "choose_entry.cpp", emulated_core.PLUGINS / "core" / "fused" / "choose.cpp")
    sources += (emulated_core.PLUGINS / "core" / "fused" / "registry.cpp",)
    host = ctypes.CDLL(str(emulated_core.build_library("libchoose.so", sources)))
    host.choose_among.restype = ctypes.c_char_p
    return lambda block, architecture=90: host.choose_among(ctypes.byref(block), architecture).decode()


def block(c: int = 64, width: int = 64, size: int = 32, batch: int = 32, **changes: int) -> GatedBlock:
    x = Dense(256, batch, c, size, size)
    made = GatedBlock(kind=1, dtype=1, stride_h=1, stride_w=1, x=x, identity=x, y=Dense(512, batch, c, size, size))
    made.convolutions[0] = Convolution(None, None, width)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_the_nearest_measured_shape_decides(choose):
    assert choose(block()) == "wide"
    assert choose(block(c=80)) == "wide"
    assert choose(block(batch=1)) == "narrow"
    assert choose(block(batch=2, size=28)) == "narrow"
    assert choose(block(batch=8)) == "wide"  # two doublings from 32, three from 1
    assert choose(block(size=256)) == "chain"  # measured: no variant is faster there


def test_a_variant_that_does_not_take_the_block_is_passed_over(choose):
    """The next measured shape decides: narrow ones take odd channels, wide ones do not."""
    assert choose(block(c=63)) == "narrow"


def test_an_architecture_that_nobody_measured_takes_the_nearest_older_one(choose):
    assert choose(block(), 120) == choose(block(), 100) == "newest"
    assert choose(block(), 89) == "any"  # of the table for sm_80
    assert choose(block(), 75) == "chain"  # no variant runs there


def test_without_a_measurement_the_first_variant_that_takes_the_block(choose):
    assert choose(block(kind=2)) == "wide"
    assert choose(block(kind=2, c=63)) == "narrow"
    assert choose(block(kind=2, dtype=0)) == "chain"


def test_in_place_only_where_a_variant_can(choose):
    in_place = block()
    in_place.y = in_place.x
    assert choose(in_place) == "any"


def test_the_librarys_own_choice(core_path):
    """-1 or a variant that the library names; garbage is the chain."""
    library = CoreLibrary(core_path)
    for kind in range(len(BLOCKS)):
        choice = library.choice(block(kind=kind), 90)
        assert choice == CHAIN or 1 <= choice <= len(library.variants(kind))
        assert library.choice(block(kind=kind), 75) == CHAIN
    assert library.choice(block(kind=9), 90) == CHAIN
    assert library.variants(9) == ()
