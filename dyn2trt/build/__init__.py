"""Build: an ONNX file becomes a TensorRT plan with a passport beside it.

`engine` builds, `plan` loads. Importing this package imports neither TensorRT nor onnx.
"""

from dyn2trt.build.engine import build_engine
from dyn2trt.build.options import BuildOptions
from dyn2trt.build.passport import Passport, read_passport
from dyn2trt.build.plan import LoadedPlan, load_plan

__all__ = ["BuildOptions", "LoadedPlan", "Passport", "build_engine", "load_plan", "read_passport"]
