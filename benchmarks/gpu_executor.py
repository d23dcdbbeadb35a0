"""How fast is an exported file on this GPU: its gated blocks by the TensorRT plugins, everything else by torch?

    python benchmarks/gpu_executor.py model.onnx --batch 8

For a GPU without TensorRT: the plugins are driven as an engine drives them, the rest are torch's kernels, and all of it
is one CUDA graph. An engine would fuse what stands between the blocks; the time here is an upper bound of its own.
Needs torch with CUDA, the built plugin library and TensorRT's headers. Gates decide for themselves, on noise.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from script import run_script

from dyn2trt.bench.environment import examine_environment
from dyn2trt.errors import MissingDependency
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.model_file import read_model
from dyn2trt.files import write_text
from dyn2trt.runtimes.names import INPUT

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from gpu_plugins import gpu_driver, why_no_gpu_plugins
from onnx_executor import Captured, Executor


def milliseconds(captured: Captured, seconds: float) -> list[float]:
    """Of each replay, by CUDA events, for about so many seconds and 20 replays at least."""
    times: list[float] = []
    while len(times) < 20 or sum(times) < seconds * 1e3:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        captured.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return times


def main(
    model: Annotated[Path, typer.Argument(help="A file of dyn2trt export.")],
    batch: Annotated[int | None, typer.Option(help="Images; the file's own batch where it is left out.")] = None,
    measure_seconds: Annotated[float, typer.Option("--seconds", help="Of measuring.")] = 1.0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file for the record.")] = None,
) -> None:
    if reason := why_no_gpu_plugins():
        raise MissingDependency(f"this benchmark cannot run here: {reason}")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    proto = read_model(model)
    metadata = read_metadata(proto)
    n, *shape = metadata.input_shape
    x = torch.randn(batch or n, *shape, generator=torch.Generator().manual_seed(0)).to("cuda")
    executor = Executor(proto, gpu_driver(), {INPUT: x}, poison=False)
    captured = executor.captured({INPUT: x})
    times = milliseconds(captured, measure_seconds)
    median, low, high = (float(np.quantile(times, q)) for q in (0.5, 0.05, 0.95))
    formats = Counter("channels-last" if layer.last else "linear" for layer in executor.layers)
    plugins = ", ".join(f"{count} {name}" for name, count in formats.items()) or "none"
    print(f"{model.name}: batch {len(x)}, {metadata.precision}: {median:.3f} ms (5 to 95 %: {low:.3f} to {high:.3f})")
    print(f"plugins: {plugins}; workspace {sum(layer.workspace_bytes for layer in executor.layers) / 2**20:.1f} MiB")
    if output is not None:
        record = {"environment": asdict(examine_environment()), "gpu": torch.cuda.get_device_name()}
        record |= {"model": model.name, "batch": len(x), "precision": metadata.precision, "ms": times}
        write_text(output, json.dumps(record | {"plugins": formats}, indent=1) + "\n")


if __name__ == "__main__":
    run_script(main)
