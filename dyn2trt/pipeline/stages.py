"""Stages that run once: a stage is skipped while its inputs and outputs are what they were when it last ended.

A stamp next to the outputs records the fingerprint of what went in and the digest of what came out. It is written
after the stage ends, so an interrupted run starts again at the stage that it was in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyn2trt.files import sha256, write_text


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    ``settings`` is everything but files that decides the result (JSON-serialisable), ``inputs`` the files that are
    read, ``outputs`` the files that exist once ``action`` has returned.
    """

    name: str
    action: Callable[[], None]
    outputs: tuple[Path, ...]
    inputs: tuple[Path, ...] = ()
    settings: Mapping[str, Any] | None = None


def is_up_to_date(stage: Stage, folder: Path) -> bool:
    """Whether the stage's stamp in ``folder`` matches its settings, its inputs and its outputs as they are now."""
    try:
        return json.loads(_stamp(stage, folder).read_text(encoding="utf-8")) == _state(stage)
    except (OSError, ValueError):
        return False


def perform(stage: Stage, folder: Path) -> None:
    """Run the stage, then stamp it. An exception leaves it unstamped."""
    _stamp(stage, folder).unlink(missing_ok=True)
    stage.action()
    write_text(_stamp(stage, folder), json.dumps(_state(stage), indent=1))


def _stamp(stage: Stage, folder: Path) -> Path:
    return folder / ".stages" / f"{stage.name}.json"


def _state(stage: Stage) -> dict[str, Any]:
    settings = json.dumps(stage.settings, sort_keys=True, default=str)
    return {
        "settings": hashlib.sha256(settings.encode()).hexdigest(),
        "inputs": {str(path): _digest(path) for path in stage.inputs},
        "outputs": {path.name: _digest(path) for path in stage.outputs},
    }


def _digest(path: Path) -> str:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return hashlib.sha256(
            "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files).encode()
        ).hexdigest()
    return sha256(path)
