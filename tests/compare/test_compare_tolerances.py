"""Tolerances in Polygraphy's syntax, and errors held to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn2trt.compare.metrics import NormCompareFunc, norm_result, relative_error
from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe.tolerances import Tolerances, parse_tolerances


def test_polygraphys_syntax() -> None:
    assert parse_tolerances([]) == Tolerances()
    assert parse_tolerances(["1e-4"]) == Tolerances(1e-4)
    assert parse_tolerances(["out0:1e-4", "1e-3", "out0:2e-4"]) == Tolerances(1e-3, {"out0": 2e-4})
    assert parse_tolerances(["heads:out0:0"]).of("heads:out0") == 0.0


def test_a_named_tolerance_goes_before_the_one_for_all() -> None:
    tolerances = parse_tolerances(["1e-3", "out1:1e-2"])
    assert (tolerances.of("out0"), tolerances.of("out1")) == (1e-3, 1e-2)
    assert Tolerances().of("out0") is None


@pytest.mark.parametrize("text", ["", "out0", "out0:", "out0:tight", ":1e-4", "-1e-4", "nan", "out0:inf"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(Dyn2trtError, match="expected a tolerance like 1e-4 or out0:1e-4"):
        parse_tolerances([text])


def test_an_unknown_output_is_named_with_the_nearest() -> None:
    with pytest.raises(Dyn2trtError, match=r"ouput0:0\.0001 names no output.*did you mean out0"):
        parse_tolerances(["ouput0:1e-4"]).check_names(["out0", "logits"])


@given(
    r=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20).filter(lambda values: any(abs(v) > 1e-3 for v in values)),
    scale=st.floats(1e-6, 1e3),
)
@settings(max_examples=50, deadline=None)
def test_relative_error_of_a_scaled_array_is_the_scale(r: list[float], scale: float) -> None:
    reference = np.array(r, np.float64)
    assert relative_error(reference * (1 + scale), reference) == pytest.approx(scale, rel=1e-6)
    assert relative_error(reference, reference) == 0.0


def test_relative_error_of_what_is_not_finite_or_zero() -> None:
    zero, one = np.zeros(2), np.ones(2)
    assert relative_error(zero, zero) == 0.0
    assert relative_error(one, zero) == math.inf
    assert math.isnan(relative_error(np.array([1.0, np.nan]), one))
    infinite = np.array([1.0, np.inf])
    assert relative_error(infinite, infinite) == 0.0


def test_half_precision_is_measured_in_float64() -> None:
    big = np.full(100_000, 300.0, np.float16)  # its norm overflows float16
    assert relative_error(big * np.float16(1.01), big) == pytest.approx(0.01, rel=0.1)


def test_the_worst_image_decides() -> None:
    r = np.ones((3, 4))
    y = r.copy()
    y[1] += 1e-3
    result = norm_result(y, r, 5e-4)
    assert not result
    assert (result.worst_image, result.images) == (1, 3)
    assert result.error == pytest.approx(1e-3)
    assert norm_result(y, r, 2e-3)


@pytest.mark.parametrize("y", [np.full((1, 2), np.nan), np.ones((1, 3)), np.ones((2, 2)), np.full((1, 2), np.inf)])
def test_nan_infinity_and_another_shape_fail_at_any_tolerance(y: np.ndarray) -> None:
    assert not norm_result(y, np.ones((1, 2)), 1e30)


def test_the_comparison_function_misses_no_output() -> None:
    function = NormCompareFunc({"out0": 1e-5, "out1": 1e-5})
    r = {"out0": np.ones((1, 2)), "out1": np.ones((1, 2)), "logits0": np.ones((1, 2))}
    results = function({"out0": np.ones((1, 2))}, r)
    assert list(results) == ["out0", "out1"]
    assert results["out0"]
    assert not results["out1"]
