"""Shapes in trtexec's syntax, and the profiles made of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn2trt.engine.options import BuildOptions
from dyn2trt.engine.profiles import (
    Profile,
    format_shapes,
    parse_shapes,
    parse_size,
    resolve_profiles,
)
from dyn2trt.errors import Dyn2trtError

NAMES = st.text(
    st.characters(codec="ascii", exclude_characters=",'\" \t\n\r\v\f", categories=("L", "N", "P")), min_size=1
)
SHAPES = st.lists(st.integers(1, 10**6), min_size=1, max_size=6).map(tuple)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(NAMES, SHAPES, min_size=1, max_size=4))
def test_shapes_round_trip(shapes):
    assert parse_shapes(format_shapes(shapes)) == shapes


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("x:1,3x'-. "), max_size=12))
def test_any_text_parses_or_is_refused_in_words(text):
    try:
        shapes = parse_shapes(text)
    except Dyn2trtError as error:
        assert str(error)  # noqa: PT017
    else:
        assert shapes
        assert all(name and dims and min(dims) > 0 for name, dims in shapes.items())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1x3x8x8", "expected NAME:DIMxDIM"),
        ("x:", "expected NAME:DIMxDIM"),
        ("x:1x-1", "expected NAME:DIMxDIM"),
        ("x:1x0", "at least 1"),
        ("x:1,x:2", "twice"),
    ],
)
def test_malformed_shapes(text, said):
    with pytest.raises(Dyn2trtError, match=said):
        parse_shapes(text)


def test_quoted_names_and_names_with_colons():
    assert parse_shapes("'a:b':1x2,c:3") == {"a:b": (1, 2), "c": (3,)}


def resolve(inputs, low=None, opt=None, high=None, **more):
    given = {"min_shapes": low, "opt_shapes": opt, "max_shapes": high}
    return resolve_profiles(inputs, **{k: {} if v is None else {"x": v} for k, v in given.items()}, **more)


def test_static_inputs_need_no_shapes():
    assert resolve({"x": (1, 3)}) == {"x": Profile((1, 3), (1, 3), (1, 3))}


@pytest.mark.parametrize(
    ("low", "opt", "high", "expected"),
    [
        (None, (4,), None, ((4,), (4,), (4,))),
        ((2,), None, (8,), ((2,), (8,), (8,))),
        ((2,), (4,), None, ((2,), (4,), (4,))),
        (None, (4,), (8,), ((4,), (4,), (8,))),
        ((2,), (4,), (8,), ((2,), (4,), (8,))),
    ],
)
def test_missing_shapes_follow_the_others(low, opt, high, expected):
    assert resolve({"x": (-1,)}, low, opt, high) == {"x": Profile(*expected)}


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(*[st.integers(1, 9)] * 4), min_size=1, max_size=4))
def test_a_profile_serves_its_range_and_nothing_else(rows):
    low, opt, high, asked = (tuple(column) for column in zip(*rows, strict=True))
    inputs = {"x": (-1,) * len(rows)}
    if not all(a <= b <= c for a, b, c in zip(low, opt, high, strict=True)):
        with pytest.raises(Dyn2trtError, match="min ≤ opt ≤ max"):
            resolve(inputs, low, opt, high)
        return
    profile = resolve(inputs, low, opt, high)["x"]
    if all(a <= b <= c for a, b, c in zip(low, asked, high, strict=True)):
        profile.check("x", asked)
    else:
        with pytest.raises(Dyn2trtError, match="outside"):
            profile.check("x", asked)


def test_dynamic_without_shapes_shows_an_example():
    with pytest.raises(Dyn2trtError, match=r"--min-shapes x:1x3x64x64 .* --max-shapes x:4x3x64x64"):
        resolve({"x": (-1, 3, -1, -1)}, example={"x": (1, 3, 64, 64)})


def test_sizes_are_multiples_of_what_the_network_needs():
    inputs = {"x": (-1, 3, -1, -1)}
    resolve(inputs, (1, 3, 64, 64), (3, 3, 128, 64), (5, 3, 256, 192), size_multiple=64)
    with pytest.raises(Dyn2trtError, match="x of 1x3x96x64: height and width of this network are multiples of 64"):
        resolve(inputs, (1, 3, 64, 64), (1, 3, 96, 64), (1, 3, 128, 64), size_multiple=64)


def test_unknown_input_suggests_the_nearest():
    with pytest.raises(Dyn2trtError, match="inputs are images, mask; did you mean 'images'"):
        resolve_profiles({"images": (1,), "mask": (1,)}, min_shapes={"image": (1,)}, opt_shapes={}, max_shapes={})


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8)])
def test_static_dimensions_are_not_chosen(shape):
    with pytest.raises(Dyn2trtError, match=r"--max-shapes gives x the shape 1x\S+; the model has \?x3x8x8"):
        resolve({"x": (-1, 3, 8, 8)}, high=shape)


def test_a_shape_outside_says_how_to_rebuild():
    profile = Profile((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))
    with pytest.raises(Dyn2trtError, match=r"batch 6 outside \[1, 4\]; rebuild with --max-shapes x:6x3x8x8"):
        profile.check("x", (6, 3, 8, 8))
    with pytest.raises(Dyn2trtError, match="3 dimensions, the engine's has 4"):
        profile.check("x", (6, 3, 8))


@pytest.mark.parametrize(("text", "size"), [("2G", 2 << 30), ("512m", 512 << 20), ("1.5GiB", 3 << 29), ("4096", 4096)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "2X", "0", "1e9"])
def test_malformed_sizes(text):
    with pytest.raises(Dyn2trtError, match="expected a number with K, M, G or T"):
        parse_size(text)


@pytest.mark.parametrize("wrong", [{"optimization_level": 6}, {"workspace": 0}])
def test_options_are_checked(wrong):
    with pytest.raises(Dyn2trtError, match="not"):
        BuildOptions(**wrong)
