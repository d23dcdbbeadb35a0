"""The CUDA plugin library with the driver that stands in for TensorRT: what it needs, and the two together."""

from __future__ import annotations

import re
from functools import cache

import emulated_plugins
import torch
from plugin_driver import Driver

from dyn2trt.engine.plugin_library import BUILD_COMMAND, find_plugin_library


def headers_major() -> int:
    """Major version of the TensorRT headers that the driver is compiled with; the plugins' has to be the same."""
    headers = emulated_plugins.tensorrt_headers()
    assert headers is not None
    text = (headers / "NvInferVersion.h").read_text()
    found = re.search(r"#define (?:TRT_MAJOR_ENTERPRISE|NV_TENSORRT_MAJOR) (\d+)", text)
    assert found is not None, f"{headers}/NvInferVersion.h names no major version"
    return int(found[1])


@cache
def why_no_gpu_plugins() -> str | None:
    """What keeps the CUDA plugins from being driven here, or None."""
    if not torch.cuda.is_available():
        return "needs a CUDA GPU"
    if reason := emulated_plugins.why_not():
        return reason
    if find_plugin_library(headers_major()) is None:
        return f"needs libdyn2trt_tensorrt{headers_major()}.so: {BUILD_COMMAND}"
    return None


def gpu_driver() -> Driver:
    """The driver with the CUDA plugin library; `why_no_gpu_plugins` has to be None."""
    library = find_plugin_library(headers_major())
    assert library is not None
    return Driver(emulated_plugins.build_driver(), library, isolated=False)
