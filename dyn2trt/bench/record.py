"""``bench.json``: everything a benchmark measured, under which conditions, and what it left out and why."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import AliasChoices, Field, TypeAdapter

from dyn2trt.activity.summary import Activity
from dyn2trt.bench.timing.break_even import BreakEven, Verdict
from dyn2trt.bench.timing.generation import GenerationCost
from dyn2trt.bench.timing.latency import Interval, Latency
from dyn2trt.documents import read_document

FORMAT = 1


@dataclass(frozen=True)
class Model:
    """What was measured; the fields are those of the export's metadata."""

    file: str
    sha256: str
    network: str
    options: dict[str, str | int | float | bool]
    precision: str
    ops: str
    input_shape: tuple[int, ...]
    """[N, 3, H, W]; the batches of `Record.batches` take N's place."""
    dynamic: tuple[str, ...] = ("positions",)
    """What it decides for every image: positions, layers or kernels (`dyn2trt.export.dynamic`)."""


@dataclass(frozen=True)
class Environment:
    """The machine and the software. None: not there, or not found out."""

    cpu: str
    cores: int
    """Cores this process may use."""
    load_average: float | None
    """Over the minute before the run; well above 0 means that the machine had other work."""
    platform: str
    python: str
    versions: dict[str, str]
    """Of the installed packages among numpy, onnx, onnxruntime, torch, tensorrt, pycuda."""
    gpu: str | None
    driver: str | None
    cuda: str | None
    commit: str | None
    """Commit of dyn2trt when it runs from a git checkout, with ``+changes`` where files differ from it."""


@dataclass(frozen=True)
class Mode:
    """How the backend ran."""

    backend: str
    provider: str
    threads: int | None
    """Intra-op threads (ONNX Runtime)."""
    cuda_graphs: bool | None
    transfers: bool | None
    """Whether the time includes host-to-device and device-to-host copies; None where there is no device."""
    clock: str
    """What took the time: wall clock around the call, or CUDA events on the stream."""
    computed_whole: int = 0
    """Gated blocks so small that they were computed whole and masked, as the file says for ONNX Runtime."""


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    images: str
    seed: int
    warmup: int
    min_rounds: int
    max_rounds: int
    seconds: float
    masks_per_ratio: int


@dataclass(frozen=True)
class SweepPoint:
    """The gated network with its gates forced to an active ratio; the gates themselves still run."""

    pattern: str
    ratio: float
    latency: Latency
    speedup: Interval


@dataclass(frozen=True)
class Batch:
    """One batch size: the network itself next to its counterparts. All latencies come from one interleaved run."""

    batch: int
    own: Annotated[Latency, Field(validation_alias=AliasChoices("own", "sparse"))]
    """The network as it is, its own gates deciding and its own kernels made; older records call it ``sparse``."""
    dense: Latency | None = None
    """Of a gated network: the same without gates, every site computed."""
    speedup: Interval | None = None
    """Dense over own latency."""
    verdict: Verdict | None = None
    """Whether skipping pays."""
    sweep: tuple[SweepPoint, ...] = ()
    break_even: tuple[BreakEven, ...] = ()
    static: Latency | None = None
    """Of a network with dynamic kernels: the same with fixed kernels of the same widths."""
    generation: GenerationCost | None = None
    """What making kernels for every image costs against that."""


@dataclass(frozen=True)
class BlockTiming:
    """One block alone, with its gate, on the activations that reach it in the network; dense is without the gate."""

    name: str
    op: str
    site_fraction: float
    """Share of active sites in the activations that were timed (the first image)."""
    dense: Latency
    sparse: Latency
    speedup: Interval


@dataclass(frozen=True)
class Memory:
    """Bytes. ``None``: not measured on this backend."""

    name: str
    """``dense``, ``static`` or ``own``, as the fields of `Batch`."""
    peak_rss: int | None
    """Peak resident memory of a fresh process that loads the model and runs it once."""
    runtime_rss: int | None
    """Resident memory of that process before it loads the model: Python, numpy and the runtime."""
    device: int | None
    """Device memory that loading the engine and making its context and buffers took."""
    activations: int | None
    """Device memory that the engine states it needs for activations."""


@dataclass(frozen=True)
class NotRun:
    what: str
    why: str


@dataclass(frozen=True)
class Record:
    """One benchmark."""

    version: str
    """Version of dyn2trt."""
    date: str
    """ISO 8601, UTC."""
    model: Model
    mode: Mode
    environment: Environment
    settings: Settings
    activity: Activity | None
    batches: tuple[Batch, ...]
    blocks: tuple[BlockTiming, ...]
    memory: tuple[Memory, ...]
    not_run: tuple[NotRun, ...]
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


_ADAPTER = TypeAdapter(Record)


def read_record(path: str | os.PathLike[str]) -> Record:
    """Read a ``bench.json``.

    Raises:
        Dyn2trtError: absent, unreadable, of another format or damaged.
    """
    return read_document(path, _ADAPTER, form=FORMAT, verb="bench")
