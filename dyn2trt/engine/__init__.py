"""Build: an ONNX file becomes a TensorRT plan with a passport beside it.

`engine` builds, `plan` loads. Importing this package imports neither TensorRT nor onnx.
"""

from dyn2trt.engine.builder import build_engine
from dyn2trt.engine.options import BuildOptions
from dyn2trt.engine.passport import Passport, read_passport
from dyn2trt.engine.plan import LoadedPlan, load_plan

__all__ = ["BuildOptions", "LoadedPlan", "Passport", "build_engine", "load_plan", "read_passport"]
