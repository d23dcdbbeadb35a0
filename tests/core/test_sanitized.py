"""The cases that compute-sanitizer runs on a GPU are about a dozen, and together they launch every kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import test_core_gpu as gpu
from core_guarded import GuardedOps

CORE = Path(__file__).resolve().parents[2] / "plugins" / "core"


def marked() -> list[Callable[..., Any]]:
    tests = [value for name, value in vars(gpu).items() if name.startswith("test_")]
    return [test for test in tests if "sanitized" in {mark.name for mark in getattr(test, "pytestmark", ())}]


def test_about_a_dozen_cases_are_marked():
    assert set(marked()) == {gpu.test_every_kernel_once, gpu.test_every_gate_once, gpu.test_every_primitive_once}
    given = [[mark.args[1] for mark in test.pytestmark if mark.name == "parametrize"] for test in marked()]
    assert all(len(cases) == 1 for cases in given)
    assert 10 <= sum(len(cases) for (cases,) in given) <= 16


def test_they_launch_every_kernel(core_path):
    """By the emulator's record, against the names of all kernels in the sources."""
    launched: set[str] = set()
    for name, size, dtype, layout, kernel in gpu.SANITIZED:
        flags, variant = gpu.kernel_options(GuardedOps(core_path).library, name, kernel)
        tensors, attributes = gpu.block(name, gpu.SIZES[size], "some", dtype, layout)
        launched |= kernels_of(core_path, lambda ops: getattr(ops, name)(*tensors, **attributes), flags, variant)  # noqa: B023
    for op, layout in gpu.SANITIZED_GATES:
        schema, tensors, attributes = gpu.gated(op, layout)
        launched |= kernels_of(core_path, lambda ops: ops.gated_block(schema, *tensors, **attributes), 0, gpu.CHAIN)  # noqa: B023
    for layout in gpu.LAYOUTS:
        tensors, attributes = gpu.primitives(layout)
        launched |= kernels_of(core_path, lambda ops: gpu.primitive_chain(ops, attributes, *tensors), 0, 0)  # noqa: B023
    lines = [line for path in CORE.rglob("*.cuh") for line in path.read_text().splitlines() if "kName =" in line]
    every = {name for line in lines for name in re.findall(r'"(\w+)"', line)}
    assert len(every) > 15
    assert every - launched == set()


def kernels_of(core_path: Path, run: Callable[[GuardedOps], Any], flags: int, variant: int) -> set[str]:
    ops = GuardedOps(core_path, flags=flags, variant=variant)
    ops.launched()
    run(ops)
    names = set(ops.launched())
    ops.release()
    return names
