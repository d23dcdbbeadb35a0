"""The plugin library: where it is, what it was compiled for, and loading it into TensorRT once a process."""

from __future__ import annotations

import os
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyn2trt.contract import DOMAIN, VERSION
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import sha256

ENVIRONMENT = "DYN2TRT_PLUGIN_LIBRARY"
PATTERN = "libdyn2trt_tensorrt*.so"
"""One library a major version of TensorRT: ``libdyn2trt_tensorrt11.so``."""

BUILD_COMMAND = "cmake --preset release && cmake --build --preset release"

_MARKER = re.compile(rb"dyn2trt-plugins((?: [a-z]+=[0-9.]+)+)\0")
"""Text that ``plugins/tensorrt/registration.cpp`` puts into the library, readable without loading it."""


@dataclass(frozen=True)
class PluginLibrary:
    """A plugin library by its own words."""

    name: str
    """File name."""
    version: str
    """Version of dyn2trt whose sources it was compiled from."""
    contract: str
    """Version of the op contract that its creators register: `dyn2trt.contract.VERSION`."""
    tensorrt: str
    """Version of the TensorRT headers."""
    cuda: str
    """Version of the CUDA compiler."""
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} (op contract {self.contract}, TensorRT {self.tensorrt}, {self.sha256[:12]})"


def find_plugin_library(tensorrt_major: int | None = None) -> Path | None:
    """Return the library for a major version of TensorRT, of any when it is None; None if there is none.

    The environment variable DYN2TRT_PLUGIN_LIBRARY names it. Otherwise it is the newest one inside the installed
    package or under ``build/`` of a source checkout, so that building it again is enough.

    Raises:
        Dyn2trtError: the environment variable names no file.
    """
    if named := os.environ.get(ENVIRONMENT):
        if not Path(named).is_file():
            raise Dyn2trtError(f"{ENVIRONMENT} is {named}, which is no file; correct or unset it")
        return Path(named).resolve()
    package = Path(__file__).resolve().parents[1]
    pattern = PATTERN if tensorrt_major is None else PATTERN.replace("*", str(tensorrt_major))
    found = [
        *package.glob(f"lib/{pattern}"),
        *Path(sysconfig.get_path("platlib"), "dyn2trt").glob(f"lib/{pattern}"),
        *package.parent.glob(f"build/**/{pattern}"),
    ]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def describe_library(path: Path) -> PluginLibrary:
    """Read what a plugin library says about itself, without loading it.

    Raises:
        Dyn2trtError: there is no such file, or it is no plugin library of dyn2trt.
    """
    try:
        marker = _MARKER.search(path.read_bytes())
    except OSError as error:
        raise Dyn2trtError(f"cannot read the plugin library {path}: {error.strerror}; check the path") from error
    if marker is None:
        raise Dyn2trtError(f"{path} is no plugin library of dyn2trt; build one: {BUILD_COMMAND}")
    fields = dict(field.split("=") for field in marker[1].decode().split())
    return PluginLibrary(path.name, **fields, sha256=sha256(path))


_loaded: dict[Path, Any] = {}
"""Handles by path. TensorRT refuses a library that it already holds, and unloading one would end engines in use."""


def load_plugin_library(registry: Any, path: Path | None = None) -> PluginLibrary | None:
    """Load the plugin library into a TensorRT plugin registry; a second call does nothing.

    Args:
        registry: ``tensorrt.get_plugin_registry()``.
        path: None finds it, see `find_plugin_library`.

    Returns:
        What was loaded, None when no library was found.

    Raises:
        Dyn2trtError: it is no plugin library, was compiled for another major version of TensorRT, implements another
            version of the op contract, or does not load.
    """
    from dyn2trt.engine.trt import captured, flavour, import_tensorrt, reasons, version_tuple

    trt = import_tensorrt()
    # TensorRT-RTX counts its versions apart; its plugin interfaces are those of TensorRT 11.
    major = version_tuple(trt.__version__)[0] if flavour(trt) == "tensorrt" else 11
    path = path or find_plugin_library(major)
    if path is None:
        return None
    path = path.resolve()
    library = describe_library(path)
    if version_tuple(library.tensorrt)[0] != major:
        raise Dyn2trtError(
            f"{path} was compiled for TensorRT {library.tensorrt}, this is TensorRT {trt.__version__}, and the plugin "
            f"registry differs between major versions; build it again with this version's headers: {BUILD_COMMAND}"
        )
    if library.contract != str(VERSION):
        raise Dyn2trtError(
            f"{path} implements version {library.contract} of the op contract, this dyn2trt version {VERSION}; build "
            f"it again: {BUILD_COMMAND}"
        )
    if path not in _loaded:
        with captured() as lines:
            handle = registry.load_library(str(path))
            if handle is None and not _registered_elsewhere(registry):
                raise Dyn2trtError(
                    f"TensorRT {trt.__version__} does not load {path}{reasons(lines)}\n"
                    f"build it again on this machine: {BUILD_COMMAND}"
                )
            lines.clear()
        _loaded[path] = handle
    return library


def _registered_elsewhere(registry: Any) -> bool:
    """Whether somebody else in this process, like Polygraphy's --plugins, has brought our creators in."""
    return any(getattr(creator, "plugin_namespace", "") == DOMAIN for creator in registry.all_creators)
