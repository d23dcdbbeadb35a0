"""The network with fixed kernels: what generating kernels for every image costs is measured against it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx


def static_twin(model: onnx.ModelProto, coefficients: Sequence[np.ndarray] | None = None) -> onnx.ModelProto:
    """Replace every dynamic convolution by an ordinary one of the same shape, with one set of kernels for all images.

    Predictors and generation go; what remains is the fixed-kernel network of the same widths, and the metadata has no
    ``kernels`` any more.

    Args:
        coefficients: one float array [size] a predictor, in execution order; None puts 0.5, the middle of their range.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt, has no dynamic kernels, or the coefficients do not fit.
    """
    raise NotImplementedError
