"""The stages of one recipe: export, build, compare, bench, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyn2trt import __version__
from dyn2trt.engine.device import this_machine
from dyn2trt.engine.plugin_library import find_plugin_library
from dyn2trt.errors import MissingDependency
from dyn2trt.pipeline.stages import Stage
from dyn2trt.recipe import NOISE, Recipe
from dyn2trt.run_folder import RunFolder
from dyn2trt.runtimes.tensorrt_session import tensorrt_and_gpu

if TYPE_CHECKING:
    from dyn2trt.engine import BuildOptions

Tell = Callable[[str], None]


def why_no_engine() -> str | None:
    """Why no TensorRT engine can be built and run on this machine; None when one can."""
    try:
        tensorrt_and_gpu()
    except MissingDependency as error:
        return str(error)
    return None


def stages_of(recipe: Recipe, folder: RunFolder, *, engine: bool, progress: Tell, warn: Tell) -> Iterator[Stage]:
    """Yield the stages in order. Each is made when its turn comes, so it sees the files of those before it.

    Args:
        engine: whether a TensorRT engine is built, compared and measured too.
        progress: told in a line what a stage is doing.
        warn: told in a line what the user should know.
    """
    images = () if recipe.data.images.startswith(NOISE) else (Path(recipe.data.images),)
    software = _software()
    data = recipe.data.model_dump()

    yield Stage(
        "export",
        lambda: _export(recipe, folder, warn),
        outputs=(folder.model,),
        inputs=() if recipe.network.checkpoint is None else (recipe.network.checkpoint,),
        settings={"network": recipe.network.model_dump(), "export": recipe.export.model_dump(), **software},
    )
    if engine:
        library = find_plugin_library()
        yield Stage(
            "build",
            lambda: _build(recipe, folder, progress),
            outputs=(folder.plan, folder.passport),
            inputs=(folder.model, *([] if library is None else [library])),
            settings={"build": recipe.build.model_dump(), "gpu": str(this_machine()), **software},
        )
    plans = (folder.plan,) if engine else ()
    yield Stage(
        "compare",
        lambda: _compare(recipe, folder, engine, progress),
        outputs=(folder.comparison, folder.activity),
        inputs=(folder.model, *plans, *images),
        settings={"data": data, "compare": recipe.compare.model_dump(), **software},
    )
    backends = [(name, folder.bench(name)) for name in ("onnxruntime", *(["tensorrt"] if engine else []))]
    for backend, record in backends:
        yield Stage(
            "bench" if backend == "onnxruntime" else f"bench-{backend}",
            lambda backend=backend, record=record: _bench(recipe, folder, backend, record, progress),  # type: ignore[misc]
            outputs=(record,),
            inputs=(folder.model, *(plans if backend == "tensorrt" else ()), *images),
            settings={
                "data": data,
                "bench": recipe.bench.model_dump(),
                **({"build": recipe.build.model_dump()} if backend == "tensorrt" else {}),
                "gpu": str(this_machine()),
                **software,
            },
        )
    yield Stage(
        "report",
        lambda: _report(folder),
        outputs=(folder.page, folder.markdown),
        inputs=(folder.model, folder.comparison, folder.activity, *(record for _, record in backends)),
        settings=software,
    )


def _software() -> dict[str, Any]:
    """Versions that can change a result."""
    versions = {"dyn2trt": __version__}
    for name in ("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"versions": versions}


def _export(recipe: Recipe, folder: RunFolder, warn: Tell) -> None:
    from dyn2trt.export.recipe_export import export_recipe

    export_recipe(recipe.network, recipe.export, folder.model, warn=warn)


def _build(recipe: Recipe, folder: RunFolder, progress: Tell) -> None:
    from dyn2trt.engine import build_engine

    build_engine(folder.model, folder.plan, _build_options(recipe, folder), progress=_Phases(progress))


def _build_options(recipe: Recipe, folder: RunFolder) -> BuildOptions:
    from dyn2trt.engine import BuildOptions

    return BuildOptions.parse(**recipe.build.model_dump(), timing_cache=folder.timing_cache)


class _Phases:
    """Tells the phases of a TensorRT build, a line each."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
        self._tell(phase)

    def step_complete(self, phase: str, step: int) -> None:
        pass

    def phase_finish(self, phase: str) -> None:
        pass


def _compare(recipe: Recipe, folder: RunFolder, engine: bool, progress: Tell) -> None:
    from dataclasses import replace

    from dyn2trt.compare.backends import TENSORRT
    from dyn2trt.compare.comparison import compare_model
    from dyn2trt.compare.options import from_recipe
    from dyn2trt.compare.saved import save_activity
    from dyn2trt.files import write_text

    options = from_recipe(recipe, folder.model, {"plan": folder.plan if engine else None})
    comparison, evidence = compare_model(options, progress)
    if not engine:  # what stands in the way is the machine; that no plan was given only follows
        why = why_no_engine()
        told = [replace(b, not_run=why) if b.name == TENSORRT else b for b in comparison.backends]
        comparison = replace(comparison, backends=tuple(told))
    save_activity(evidence, folder.activity, mean=options.mean, std=options.std)
    write_text(folder.comparison, comparison.to_json() + "\n")


def _bench(recipe: Recipe, folder: RunFolder, backend: str, record: Path, progress: Tell) -> None:
    from dyn2trt.bench.measure import measure
    from dyn2trt.bench.options import options_of
    from dyn2trt.bench.plans import with_plans
    from dyn2trt.files import write_text
    from dyn2trt.images import load_inputs

    data, (_, channels, *_) = recipe.data, recipe.export.input_shape
    size = recipe.export.input_shape[2:]
    options = options_of(recipe, backend=backend, seed=data.seed)
    x = load_inputs(data.images, (None, channels, *size), mean=data.mean, std=data.std, seed=data.seed)
    if backend == "tensorrt":
        # A plan that writes its decisions is for comparing; the benchmark builds one that does not.
        given = {} if recipe.export.with_decisions else {"own": folder.plan}
        build = _build_options(recipe, folder)
        options = with_plans(options, folder.model, given, folder.bench_plans, size, progress, build)
    measured = measure(folder.model, x, options, images_spec=data.images, progress=progress)
    write_text(record, measured.record.to_json() + "\n")


def _report(folder: RunFolder) -> None:
    from dyn2trt.report.write import write_report

    write_report(folder.path, folder.page)
