"""Loads a plan for running it, its passport checked first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from dyn2trt.engine.device import Machine, this_machine
from dyn2trt.engine.passport import Passport, read_passport
from dyn2trt.engine.plugin_library import PluginLibrary, describe_library, find_plugin_library, load_plugin_library
from dyn2trt.engine.trt import captured, flavour, import_tensorrt, logger, reasons, version_tuple
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.files import sha256


@dataclass(frozen=True)
class LoadedPlan:
    """An engine ready for execution contexts."""

    engine: Any
    """``tensorrt.ICudaEngine``."""
    passport: Passport
    runtime: Any
    """Has to outlive the engine."""


def load_plan(plan: str | os.PathLike[str], *, plugin_library: Path | None = None) -> LoadedPlan:
    """Deserialise a plan that its passport lets run here.

    Args:
        plugin_library: None finds it, see `dyn2trt.engine.plugin_library.find_plugin_library`.

    Raises:
        MissingDependency: TensorRT or a GPU is missing.
        Dyn2trtError: there is no plan or passport, the plan is of another TensorRT, GPU, plugin library or build, or
            TensorRT refuses it.
    """
    passport = read_passport(plan)
    trt = import_tensorrt()
    machine = this_machine()
    library = None
    if passport.plugin is not None:
        major = version_tuple(trt.__version__)[0] if flavour(trt) == "tensorrt" else None
        library = plugin_library or find_plugin_library(major)
    described = None if library is None else describe_library(library)
    if found := mismatches(passport, flavour(trt), trt.__version__, machine, described):
        listed = "".join(f"\n  {line}" for line in found)
        raise Dyn2trtError(f"{os.fspath(plan)} does not fit this machine:{listed}\nbuild it again: {passport.command}")
    if sha256(plan) != passport.plan_sha256:
        raise Dyn2trtError(
            f"{os.fspath(plan)} is not the plan that its passport describes: it is damaged or was replaced\n"
            f"build it again: {passport.command}"
        )
    with captured() as lines:
        runtime = _create_runtime(trt, plan, machine, lines)
        if library is not None:
            load_plugin_library(trt.get_plugin_registry(), library)
        engine = runtime.deserialize_cuda_engine(Path(plan).read_bytes())
        if engine is None:
            raise _refused(trt, plan, passport, machine, lines)
    return LoadedPlan(engine, passport, runtime)


def mismatches(
    passport: Passport, module: str, tensorrt: str, machine: Machine, library: PluginLibrary | None
) -> list[str]:
    """Return a line, with both sides, for each thing in which this machine differs from the plan's."""
    lines = []
    if (passport.module, passport.tensorrt) != (module, tensorrt):
        lines.append(f"TensorRT: built with {passport.module} {passport.tensorrt}, here is {module} {tensorrt}")
    # A plan of TensorRT-RTX is finished for the GPU at hand when it is loaded.
    if passport.module == "tensorrt" and passport.gpu != machine.gpu:
        lines.append(f"GPU: built for {passport.gpu or 'no GPU'}, here is {machine.gpu or 'no GPU'}")
    if passport.plugin is not None and passport.plugin != library:
        lines.append(f"plugin library: built with {passport.plugin}, here is {library or 'none'}")
    return lines


def _create_runtime(trt: ModuleType, plan: str | os.PathLike[str], machine: Machine, lines: list[str]) -> Any:
    try:
        return trt.Runtime(logger(trt))
    except TypeError as error:  # what the bindings make of a null pointer
        raise MissingDependency(
            f"TensorRT {trt.__version__} cannot start, to load {os.fspath(plan)}: GPU {machine.gpu or 'none'}, driver "
            f"{machine.driver or 'none'}{reasons(lines)}"
        ) from error


def _refused(
    trt: ModuleType, plan: str | os.PathLike[str], passport: Passport, machine: Machine, lines: list[str]
) -> Dyn2trtError:
    if machine.gpu is None:
        return MissingDependency(f"{os.fspath(plan)} needs an NVIDIA GPU to run, and none was found{reasons(lines)}")
    return Dyn2trtError(
        f"TensorRT {trt.__version__} does not deserialise {os.fspath(plan)}{reasons(lines)}\n"
        f"build it again: {passport.command}"
    )
