"""Passports: what is written is read, and what does not fit is said with both sides."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from passports import HERE, LIBRARY, PASSPORT

from dyn2trt.engine.device import Gpu, Machine, this_machine
from dyn2trt.engine.passport import passport_path, read_passport, write_passport
from dyn2trt.engine.plan import load_plan, mismatches
from dyn2trt.errors import Dyn2trtError

MINIMAL = dataclasses.replace(PASSPORT, gpu=None, driver=None, cuda=None, plugin=None, precision=None, export=None)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(b"plan")
    return path


@pytest.mark.parametrize("passport", [PASSPORT, MINIMAL])
def test_round_trip(plan, passport):
    write_passport(plan, passport)
    assert passport_path(plan).name == "model.plan.json"
    assert read_passport(plan) == passport


def test_no_plan(tmp_path):
    with pytest.raises(Dyn2trtError, match=r"there is no plan .*model\.plan"):
        read_passport(tmp_path / "model.plan")


def test_no_passport(plan):
    with pytest.raises(Dyn2trtError, match=r"has no passport model\.plan\.json beside it"):
        read_passport(plan)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "seconds": "x"}'])
def test_damaged_passport(plan, text):
    passport_path(plan).write_text(text)
    with pytest.raises(Dyn2trtError, match="is damaged"):
        read_passport(plan)


def test_later_format(plan):
    passport_path(plan).write_text(json.dumps({"format": 2, "dyn2trt": "9.9"}))
    with pytest.raises(Dyn2trtError, match=r"format 2, written by dyn2trt 9\.9; this one reads format 1"):
        read_passport(plan)


def test_shapes_are_checked_against_the_profile():
    PASSPORT.check_shape("x", (4, 3, 8, 8))
    with pytest.raises(Dyn2trtError, match=r"batch 6 outside \[1, 4\]; rebuild with --max-shapes x:6x3x8x8"):
        PASSPORT.check_shape("x", (6, 3, 8, 8))
    with pytest.raises(Dyn2trtError, match="no input 'y'; its inputs are x"):
        PASSPORT.check_shape("y", (6, 3, 8, 8))


def test_nothing_differs():
    assert mismatches(PASSPORT, "tensorrt", "11.4.0.106", HERE, LIBRARY) == []


OTHER_GPU = dataclasses.replace(HERE, gpu=Gpu("NVIDIA L4", "8.9"))
NO_GPU = Machine(gpu=None, driver=None, cuda=None)
REBUILT = dataclasses.replace(LIBRARY, sha256="cd" * 32)


@pytest.mark.parametrize(
    ("module", "version", "machine", "library", "said"),
    [
        ("tensorrt", "10.3.0", HERE, LIBRARY, "TensorRT: built with tensorrt 11.4.0.106, here is tensorrt 10.3.0"),
        ("tensorrt_rtx", "11.4.0.106", HERE, LIBRARY, "here is tensorrt_rtx 11.4.0.106"),
        ("tensorrt", "11.4.0.106", OTHER_GPU, LIBRARY, "GPU: built for NVIDIA H200 (compute capability 9.0), here is"),
        ("tensorrt", "11.4.0.106", NO_GPU, LIBRARY, "here is no GPU"),
        ("tensorrt", "11.4.0.106", HERE, REBUILT, "plugin library: built with libdyn2trt_tensorrt11.so 0.1.0 (op"),
        ("tensorrt", "11.4.0.106", HERE, None, "here is none"),
    ],
)
def test_what_differs_is_said_with_both_sides(module, version, machine, library, said):
    (line,) = mismatches(PASSPORT, module, version, machine, library)
    assert said in line


def test_a_plan_of_tensorrt_rtx_fits_any_gpu():
    rtx = dataclasses.replace(PASSPORT, module="tensorrt_rtx", tensorrt="1.1", gpu=None)
    assert mismatches(rtx, "tensorrt_rtx", "1.1", HERE, LIBRARY) == []


@pytest.mark.tensorrt
@pytest.mark.usefixtures("tensorrt_on_cpu")
def test_loading_lists_every_mismatch_and_the_command(plan):
    here = this_machine()
    write_passport(
        plan, dataclasses.replace(PASSPORT, tensorrt="10.3.0.26", plugin=None, gpu=Gpu("NVIDIA None", "1.0"))
    )
    with pytest.raises(Dyn2trtError) as error:
        load_plan(plan)
    first, *lines, last = str(error.value).splitlines()
    assert first.endswith("model.plan does not fit this machine:")
    assert [line.split(":")[0].strip() for line in lines] == ["TensorRT", "GPU"]
    assert str(here.gpu or "no GPU") in lines[1]
    assert last == "build it again: dyn2trt build model.onnx -o model.plan"


@pytest.mark.tensorrt
def test_another_plan_under_the_passport(plan, tensorrt_on_cpu):
    machine = this_machine()
    write_passport(plan, dataclasses.replace(MINIMAL, tensorrt=tensorrt_on_cpu.__version__, gpu=machine.gpu))
    with pytest.raises(Dyn2trtError, match="not the plan that its passport describes"):
        load_plan(plan)


def test_importing_build_loads_no_heavy_package():
    heavy = "('torch', 'onnx', 'tensorrt', 'numpy', 'pydantic')"
    code = f"import sys, dyn2trt.engine; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
