"""Peak memory of one model in a process of its own: ``python -m dyn2trt.runtimes.memory_probe MODEL FEED THREADS``.

Prints JSON with ``runtime_rss`` (resident bytes once the runtime is imported and the feed is read) and ``peak_rss``
(highest resident bytes after loading the model and running it once).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dyn2trt.errors import Dyn2trtError

if TYPE_CHECKING:
    import onnx


def probe_memory(model: onnx.ModelProto, feed: dict[str, Any], threads: int) -> tuple[int, int]:
    """Return (runtime, peak) resident bytes of a fresh process that runs ``model`` once on ``feed``.

    Raises:
        Dyn2trtError: the process failed; the message ends with its last line.
    """
    from dyn2trt.export.model_file import save_model

    with tempfile.TemporaryDirectory() as folder:
        path, data = Path(folder, "model.onnx"), Path(folder, "feed.npz")
        save_model(model, path)
        np.savez(data, **feed)
        command = [sys.executable, "-m", "dyn2trt.runtimes.memory_probe", str(path), str(data), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Dyn2trtError(f"the memory probe failed: {reason[0]}")
    result = json.loads(done.stdout.splitlines()[-1])
    return result["runtime_rss"], result["peak_rss"]


def _peak_rss() -> int:
    """Highest resident bytes of this process image.

    Linux carries getrusage's value over from the process that forked, so VmHWM is read where there is one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _main(path: str, data: str, threads: int) -> None:
    import onnxruntime

    with np.load(data) as arrays:
        feed = {name: arrays[name] for name in arrays.files}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    runtime_rss = _peak_rss()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
    sys.stdout.write(json.dumps({"runtime_rss": runtime_rss, "peak_rss": _peak_rss()}) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
