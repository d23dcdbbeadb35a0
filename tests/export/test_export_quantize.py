"""ONNX Runtime's own dynamic quantisation takes exported files, gated blocks and dynamic kernels alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from compare_models import export_official
from onnxruntime.quantization import QuantType, quantize_dynamic

from dyn2trt.export.metadata import read_metadata


@pytest.mark.parametrize("case", ["gated", "dynamic kernels"])
def test_quantize_dynamic(tmp_path: Path, dynet_export: Callable[..., Path], case: str) -> None:
    source = export_official() if case == "gated" else dynet_export("dy_cifar_resnet", 1, dynamic_batch=True)
    model = onnx.load(source)
    initializers = {tensor.name for tensor in model.graph.initializer}
    assert not initializers & {info.name for info in model.graph.value_info}
    quantize_dynamic(source, tmp_path / "int8.onnx", weight_type=QuantType.QUInt8)
    shape = read_metadata(source).input_shape
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    float32, int8 = (
        onnxruntime.InferenceSession(path).run(["out0"], {"x": x})[0] for path in (source, tmp_path / "int8.onnx")
    )
    assert 0 < np.linalg.norm(int8 - float32) < 0.2 * np.linalg.norm(float32)
