"""Fixtures for every test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import emulated_core
import emulated_plugins
import pytest
from tensorrt_on_cpu import harness

from dyn2trt.engine import plugin_library
from dyn2trt.notices import warn_once


@pytest.fixture(autouse=True)
def _warn_anew() -> None:
    """What one test was warned of, another is told too."""
    warn_once.cache_clear()


@pytest.fixture
def tensorrt_on_cpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``import tensorrt`` works during the test and builds plans on the CPU; mark such tests ``tensorrt``."""
    if reason := harness.why_not():
        pytest.skip(reason)
    module = harness.load()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture(scope="session")
def dynet_export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``dynet_export(case, batch, **options)``: `dynet_cases.export_once` into a folder of this test run."""
    import dynet_cases

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # The worker's is inside the run's.
    return partial(dynet_cases.export_once, shared)


@pytest.fixture(scope="session")
def core_path() -> Path:
    """The CUDA core library over the CPU emulator; see plugins/README.md."""
    if emulated_core.compiler() is None:
        pytest.skip("no C++ compiler: set CXX or install g++")
    return emulated_core.build_library()


@pytest.fixture(scope="session")
def plugins_path(core_path: Path) -> Path:
    """The TensorRT plugin library over the CPU emulator."""
    if reason := emulated_plugins.why_not():
        pytest.skip(reason)
    return emulated_plugins.build_library(core_path)


@pytest.fixture
def emulated_plugins_library(
    tensorrt_on_cpu: ModuleType, plugins_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The library of `plugins_path` is the one that dyn2trt finds, and unloaded from TensorRT after the test."""
    monkeypatch.setenv(plugin_library.ENVIRONMENT, str(plugins_path))
    yield plugins_path
    for handle in plugin_library._loaded.values():
        tensorrt_on_cpu.get_plugin_registry().deregister_library(handle)
    plugin_library._loaded.clear()
