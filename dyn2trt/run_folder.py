"""Where a run puts what it makes: the pipeline writes these files, a report reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The files of a run; any of them may be absent."""

    path: Path

    @property
    def model(self) -> Path:
        return self.path / "model.onnx"

    @property
    def metadata(self) -> Path:
        """The model's metadata, where the model itself was not kept."""
        return self.path / "metadata.json"

    @property
    def plan(self) -> Path:
        return self.path / "model.plan"

    @property
    def passport(self) -> Path:
        return self.path / "model.plan.json"

    @property
    def timing_cache(self) -> Path:
        return self.path / "timing.cache"

    @property
    def bench_plans(self) -> Path:
        """Folder of the plans that a benchmark builds."""
        return self.path / "bench-plans"

    @property
    def comparison(self) -> Path:
        return self.path / "compare.json"

    @property
    def activity(self) -> Path:
        return self.path / "activity.npz"

    def bench(self, backend: str) -> Path:
        """The record of a benchmark in that runtime."""
        return self.path / ("bench.json" if backend == "onnxruntime" else f"bench-{backend}.json")

    @property
    def benches(self) -> list[Path]:
        """All records that there are."""
        return sorted(self.path.glob("bench*.json"))

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    @property
    def markdown(self) -> Path:
        return self.path / "report.md"
