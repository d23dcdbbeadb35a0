"""Builds a TensorRT plan, and its passport, from an ONNX file."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import dyn2trt
from dyn2trt.engine.device import this_machine
from dyn2trt.engine.options import BuildOptions
from dyn2trt.engine.parse import ParsedModel, parse_model
from dyn2trt.engine.passport import Border, Passport, passport_path, write_passport
from dyn2trt.engine.profiles import Profile, format_shape, resolve_profiles
from dyn2trt.engine.progress import ProgressView, progress_monitor, run_cancellable
from dyn2trt.engine.timing_cache import load_timing_cache, save_timing_cache
from dyn2trt.engine.trt import captured, flavour, import_tensorrt, logger, reasons
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.files import can_be_read_back, check_writable, replacing, sha256

log = logging.getLogger("dyn2trt.engine")


def build_engine(
    onnx_path: str | os.PathLike[str],
    plan_path: str | os.PathLike[str],
    options: BuildOptions | None = None,
    *,
    progress: ProgressView | None = None,
) -> Passport:
    """Build ``plan_path`` and its passport from an ONNX file; both are whole or absent.

    Raises:
        MissingDependency: TensorRT is not installed, or finds no GPU and needs one.
        Dyn2trtError: the model, a shape or an option does not fit, a gated block is no plugin, the parser or the
            builder refuses, or the plan cannot be written.
        KeyboardInterrupt: after Ctrl-C, once TensorRT has stopped.
    """
    onnx_path, plan_path, options = Path(onnx_path), Path(plan_path), options or BuildOptions()
    for what, path in (("plan, with its passport beside it,", plan_path), ("timing cache", options.timing_cache)):
        if path is not None:
            _check_regular(what, path)
    trt = import_tensorrt()
    started = time.monotonic()
    onnx_sha256 = _digest(onnx_path)
    builder = _create_builder(trt)
    parsed = parse_model(trt, builder, onnx_path, options)
    inputs, outputs = _borders(parsed.network)
    profiles = _profiles(inputs, parsed, options)
    config = _configure(trt, builder, options, {n: p for n, p in profiles.items() if -1 in inputs[n].shape})
    plan = _serialize(trt, builder, parsed.network, config, progress, onnx_path)

    # A passport must never lie beside a plan of another build.
    passport_path(plan_path).unlink(missing_ok=True)
    with replacing(plan_path) as temporary:
        temporary.write_bytes(plan)
    machine = this_machine()
    passport = Passport(
        dyn2trt=dyn2trt.__version__,
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 3),
        command=options.command(onnx_path, plan_path),
        module=flavour(trt),
        tensorrt=trt.__version__,
        cuda=machine.cuda,
        driver=machine.driver,
        gpu=machine.gpu,
        plugin=parsed.library if parsed.gated_blocks.as_plugins else None,
        onnx=onnx_path.name,
        onnx_sha256=onnx_sha256,
        plan_sha256=sha256(plan_path),
        plan_bytes=plan_path.stat().st_size,
        inputs=inputs,
        outputs=outputs,
        profiles=profiles,
        precision=None if parsed.metadata is None else parsed.metadata.precision,
        tf32=options.tf32,
        workspace=options.workspace,
        optimization_level=options.optimization_level,
        layers=parsed.layers,
        gated_blocks=parsed.gated_blocks,
        export=None if parsed.metadata is None else json.loads(parsed.metadata.to_json()),
    )
    write_passport(plan_path, passport)
    if options.timing_cache is not None:
        try:
            save_timing_cache(config, options.timing_cache)
        except Dyn2trtError as error:  # the plan is there; the cache only saves time
            log.warning("%s", error)
    return passport


def _check_regular(what: str, path: Path) -> None:
    check_writable(path)
    if not can_be_read_back(path):
        raise Dyn2trtError(f"a {what} is a regular file, and {path} is none; choose another path")


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise Dyn2trtError(f"cannot read {path}: {error.strerror or error}") from error


def _create_builder(trt: ModuleType) -> Any:
    with captured() as lines:
        try:
            return trt.Builder(logger(trt))
        except TypeError as error:  # what the bindings make of a null pointer
            raise MissingDependency(
                f"TensorRT {trt.__version__} cannot start, which mostly means that there is no usable NVIDIA GPU or "
                f"driver{reasons(lines)}"
            ) from error


def _borders(network: Any) -> tuple[dict[str, Border], dict[str, Border]]:
    def border(tensor: Any) -> Border:
        return Border(shape=tuple(tensor.shape), dtype=tensor.dtype.name.lower())

    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return {tensor.name: border(tensor) for tensor in inputs}, {tensor.name: border(tensor) for tensor in outputs}


def _profiles(inputs: dict[str, Border], parsed: ParsedModel, options: BuildOptions) -> dict[str, Profile]:
    from dyn2trt.export.metadata import INPUT

    metadata = parsed.metadata
    return resolve_profiles(
        {name: border.shape for name, border in inputs.items()},
        min_shapes=options.min_shapes,
        opt_shapes=options.opt_shapes,
        max_shapes=options.max_shapes,
        example=None if metadata is None else {INPUT: metadata.input_shape},
        size_multiple=1 if metadata is None else metadata.size_multiple,
    )


def _configure(trt: ModuleType, builder: Any, options: BuildOptions, dynamic: dict[str, Profile]) -> Any:
    config = builder.create_builder_config()
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default
    if options.timing_cache is not None:
        load_timing_cache(config, options.timing_cache)
    if dynamic:
        profile = builder.create_optimization_profile()
        for name, shapes in dynamic.items():
            profile.set_shape(name, shapes.min, shapes.opt, shapes.max)
        if config.add_optimization_profile(profile) < 0:
            shown = {name: format_shape(shapes.max) for name, shapes in dynamic.items()}
            raise Dyn2trtError(f"TensorRT refuses the profile with max shapes {shown}; choose another range")
    return config


def _serialize(
    trt: ModuleType, builder: Any, network: Any, config: Any, progress: ProgressView | None, path: Path
) -> Any:
    cancelled = Event()
    config.progress_monitor = progress_monitor(trt, progress, cancelled)
    with captured() as lines:
        plan = run_cancellable(lambda: builder.build_serialized_network(network, config), cancelled)
        if plan is None:
            out_of_memory = any("memory" in line.lower() for line in lines)
            mend = "; give it less with --workspace, or smaller --max-shapes" if out_of_memory else ""
            raise Dyn2trtError(f"TensorRT {trt.__version__} cannot build {path}{mend}{reasons(lines)}")
    return plan
