"""TensorRT as a backend of comparisons."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
from polygraphy.backend.base import BaseRunner

from dyn2trt.compare.backends import TENSORRT, Feed, NotRun
from dyn2trt.compare.graphs import observed
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.model_file import save_model
from dyn2trt.files import sha256


class TensorRTBackend:
    """A plan in TensorRT; for forced masks and tapped blocks further engines are built from the same ONNX file.

    Raises:
        NotRun: no plan was given, or TensorRT or a GPU is missing.
        Dyn2trtError: the plan is not of this model, or does not fit this machine.
    """

    name = TENSORRT

    def __init__(self, model_path: Path, model: onnx.ModelProto, plan: Path | None) -> None:
        if plan is None:
            raise NotRun(f"no plan was given; dyn2trt build {model_path} -o model.plan, then --plan model.plan")
        from dyn2trt.engine import read_passport
        from dyn2trt.engine.device import this_machine
        from dyn2trt.engine.trt import flavour, import_tensorrt

        self._passport = read_passport(plan)
        if self._passport.onnx_sha256 != sha256(model_path):
            raise Dyn2trtError(
                f"{plan} was built from another file than {model_path} ({self._passport.onnx}); build it again: "
                f"dyn2trt build {model_path} -o {plan}"
            )
        try:
            trt = import_tensorrt()
        except MissingDependency as error:
            raise NotRun(str(error)) from error
        gpu = this_machine().gpu
        if gpu is None:
            raise NotRun(f"{flavour(trt)} {trt.__version__} is installed, but there is no NVIDIA GPU")
        if flavour(trt) == "tensorrt_rtx":
            import polygraphy.config

            # Read when Polygraphy's TensorRT backend is first imported.
            polygraphy.config.USE_TENSORRT_RTX = True
        self._model, self._plan = model, plan
        self.detail = f"{flavour(trt)} {trt.__version__} on {gpu}"

    def runner(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> BaseRunner:
        from polygraphy.backend.trt import TrtRunner

        from dyn2trt.engine import load_plan

        if not forced and not taps:
            for name, array in feed.items():
                self._passport.check_shape(name, tuple(array.shape))
            loaded = load_plan(self._plan)
        else:
            with tempfile.TemporaryDirectory(prefix="dyn2trt-compare-") as folder:
                loaded = load_plan(self._build(observed(self._model, forced=forced, taps=taps), feed, Path(folder)))
        runner = TrtRunner(loaded.engine, name=self.name)
        runner.dyn2trt_plan = loaded  # TensorRT's runtime has to outlive the engine
        return runner

    def _build(self, model: onnx.ModelProto, feed: Feed, folder: Path) -> Path:
        """Build an engine for exactly the shapes of ``feed``, otherwise with the plan's settings."""
        from dyn2trt.engine import BuildOptions, build_engine

        dynamic = {name: tuple(array.shape) for name, array in feed.items() if self._is_dynamic(model, name)}
        options = BuildOptions(
            min_shapes=dynamic,
            opt_shapes=dynamic,
            max_shapes=dynamic,
            workspace=self._passport.workspace,
            optimization_level=self._passport.optimization_level,
            tf32=self._passport.tf32,
            allow_dense_fallback=True,  # decided when the plan was built
        )
        save_model(model, folder / "observed.onnx")
        build_engine(folder / "observed.onnx", folder / "observed.plan", options)
        return folder / "observed.plan"

    @staticmethod
    def _is_dynamic(model: onnx.ModelProto, name: str) -> bool:
        border = next(value for value in model.graph.input if value.name == name)
        return any(not size.HasField("dim_value") for size in border.type.tensor_type.shape.dim)
