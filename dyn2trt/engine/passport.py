"""The passport of a plan: a JSON file beside it that says what it was built from, for what, and how.

A plan runs only with the TensorRT, on the GPU model and with the plugin library it was built with. The passport lets
that be checked, and explained, before TensorRT is handed the bytes.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dyn2trt.engine.dense_check import GatedBlocks, LayerCounts
from dyn2trt.engine.device import Gpu
from dyn2trt.engine.plugin_library import PluginLibrary
from dyn2trt.engine.profiles import Profile, Shape
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import write_text

FORMAT = 1


@dataclass(frozen=True)
class Border:
    """An input or output of the engine."""

    shape: Shape
    """−1 for a dynamic dimension."""
    dtype: str
    """TensorRT's name in small letters, like ``float``."""


@dataclass(frozen=True)
class Passport:
    """What a plan is."""

    dyn2trt: str
    """Version of dyn2trt that built it."""
    built: str
    """When, ISO 8601, UTC."""
    seconds: float
    """How long it took."""
    command: str
    """The command line that builds it again."""
    module: str
    """``tensorrt`` or ``tensorrt_rtx``."""
    tensorrt: str
    """Version of TensorRT."""
    cuda: str | None
    """Highest CUDA version of the driver; None where there was no driver."""
    driver: str | None
    gpu: Gpu | None
    """None for a plan that was built without a GPU, which TensorRT-RTX can."""
    plugin: PluginLibrary | None
    """None when the plan has no dyn2trt plugins."""
    onnx: str
    """File name of the model."""
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    inputs: dict[str, Border]
    outputs: dict[str, Border]
    profiles: dict[str, Profile]
    """The shapes the engine serves, for every input."""
    precision: str | None
    """``fp32``, ``fp16`` or ``bf16`` by the export metadata; None for a model that dyn2trt did not export."""
    tf32: bool
    """Whether fp32 convolutions may round their inputs to TensorFloat-32."""
    workspace: int | None
    """Bytes; None leaves it to TensorRT."""
    optimization_level: int | None
    layers: LayerCounts
    """Of the parsed network, before TensorRT fuses."""
    gated_blocks: GatedBlocks
    export: dict[str, Any] | None
    """The model's export metadata, `dyn2trt.export.metadata.ExportMetadata` as JSON."""
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def check_shape(self, name: str, shape: Shape) -> None:
        """Raise Dyn2trtError unless the engine has an input ``name`` and serves ``shape`` for it."""
        if name not in self.profiles:
            raise Dyn2trtError(f"the engine has no input '{name}'; its inputs are {', '.join(self.profiles)}")
        self.profiles[name].check(name, shape)


def passport_path(plan: str | os.PathLike[str]) -> Path:
    """``model.plan`` → ``model.plan.json``."""
    return Path(f"{os.fspath(plan)}.json")


def write_passport(plan: str | os.PathLike[str], passport: Passport) -> None:
    """Write the passport beside its plan, whole or not at all."""
    write_text(passport_path(plan), passport.to_json())


def read_passport(plan: str | os.PathLike[str]) -> Passport:
    """Return the passport of a plan.

    Raises:
        Dyn2trtError: there is no plan or no passport, the passport is damaged or of a later format.
    """
    from pydantic import TypeAdapter, ValidationError

    path = passport_path(plan)
    if not Path(plan).is_file():
        raise Dyn2trtError(
            f"there is no plan {os.fspath(plan)}; build it: dyn2trt build MODEL.onnx -o {os.fspath(plan)}"
        )
    try:
        document = json.loads(path.read_bytes())
        written = document["format"]
    except FileNotFoundError:
        raise Dyn2trtError(
            f"{os.fspath(plan)} has no passport {path.name} beside it, so nothing says where it may run; move the two "
            f"files together, or build the plan again: dyn2trt build MODEL.onnx -o {os.fspath(plan)}"
        ) from None
    except OSError as error:
        raise Dyn2trtError(f"cannot read the passport {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Dyn2trtError(f"the passport {path} is damaged ({error}); build the plan again") from error
    if written != FORMAT:
        by = document.get("dyn2trt", "of unknown version")
        raise Dyn2trtError(
            f"the passport {path} has format {written}, written by dyn2trt {by}; this one reads format {FORMAT}: build "
            "the plan again with this version"
        )
    try:
        return TypeAdapter(Passport).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise Dyn2trtError(f"the passport {path} is damaged ({field}: {first['msg']}); build the plan again") from error
