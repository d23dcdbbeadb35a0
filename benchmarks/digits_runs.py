"""What accuracy_against_macs.py trains: the networks, how they come about, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

EPOCHS = 22
DENSE_START = 10
STEEP_START = 6
STEEP = 0.3
"""The budget that gated networks of less than 0.5 go through."""


@dataclass(frozen=True)
class Series:
    """Networks that differ in size or in one value.

    Attributes:
        label: for people.
        network: in the zoo.
        value: what differs: a key of ``[train]``, an option of the network, or nothing where the size does.
        alpha: weight of the criterion; none for a ponder cost, which is a weight itself.
        ungated: blocks without a gate, where there are some.
    """

    label: str
    network: str
    value: str | None = None
    alpha: str = "10"
    ungated: str | None = None

    @property
    def gated(self) -> bool:
        return self.value in ("budget", "target_rate", "ponder")


SERIES = {
    "resnet": Series("ResNet", "cifar_resnet"),
    "dynconv": Series("DynConv", "cifar_resnet", "budget"),
    "aig": Series("ConvNet-AIG", "cifar_convnet_aig", "target_rate", "2", ungated="layer1.0 layer2.0 layer3.0"),
    "sact": Series("SACT", "cifar_sact", "ponder", alpha="none"),
    "dynet": Series("DyNet", "dy_cifar_resnet", "kernels"),
}


@dataclass(frozen=True)
class Run:
    """One training."""

    series: str
    depth: int
    width: float
    seed: int
    value: float | None = None
    first: bool = False
    """Whether others start from it."""

    @property
    def kind(self) -> Series:
        return SERIES[self.series]

    @property
    def start(self) -> Run | None:
        """The run that this one starts from."""
        if not self.kind.gated:
            return None
        assert self.value is not None
        if self.series == "dynconv" and self.value < 0.5 and not self.first:
            return Run("dynconv", self.depth, self.width, self.seed, STEEP, first=True)
        return Run("resnet", self.depth, self.width, self.seed, first=True)

    @property
    def epochs(self) -> int:
        if self.first:
            return STEEP_START if self.kind.gated else DENSE_START
        return EPOCHS - (self.start.all_epochs if self.start else 0)

    @property
    def all_epochs(self) -> int:
        """Epochs that its weights have been through."""
        return self.epochs + (self.start.all_epochs if self.start else 0)

    @property
    def name(self) -> str:
        value = "" if self.value is None else f"_{self.value:g}"
        return f"{self.series}_d{self.depth}_w{self.width:g}{value}_s{self.seed}{'_start' if self.first else ''}"

    @property
    def options(self) -> dict[str, bool | int | float | str]:
        """Of the network."""
        options: dict[str, bool | int | float | str] = {"depth": self.depth, "classes": 10, "stem_stride": 2}
        if self.kind.value == "kernels" and self.value is not None:
            options["kernels"] = int(self.value)
        if self.kind.ungated is not None:
            options["ungated"] = self.kind.ungated
        return options | {"width": self.width}

    @property
    def settings(self) -> list[str]:
        """Overruled keys of ``[train]`` but for the start."""
        goals = {"budget": "none"}
        if self.kind.gated:
            goals |= {str(self.kind.value): f"{self.value:g}", "alpha": self.kind.alpha}
        pairs = goals | {"seed": str(self.seed), "epochs": str(self.epochs), "precision": "bf16", "pictures": "0"}
        return [f"{key}={value}" for key, value in pairs.items()]


def planned(series: str | None = None) -> Iterator[Run]:
    """Every run once, or those of one series, each after the one that it starts from, the most telling first."""
    seen: set[Run] = set()
    for run in _wanted():
        if series not in (None, run.series):
            continue
        chain = [run]
        while (start := chain[-1].start) is not None:
            chain.append(start)
        for each in reversed(chain):
            if each not in seen:
                seen.add(each)
                yield each


def _wanted() -> Iterator[Run]:
    for budget in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9):
        yield Run("dynconv", 14, 1.0, 0, budget)
    for depth, width in ((8, 0.25), (8, 0.5), (8, 0.75), (8, 1.0), (14, 0.5), (14, 1.0)):
        yield Run("resnet", depth, width, 0)
    for seed in (1, 2):
        for budget in (0.1, 0.3):
            yield Run("dynconv", 14, 1.0, seed, budget)
        yield Run("resnet", 8, 0.5, seed)
    for budget in (0.3, 0.1, 0.5, 0.2, 0.7):
        yield Run("dynconv", 8, 1.0, 0, budget)
    for width in (0.5, 0.25):
        yield Run("dynet", 8, width, 0, 6)
    for seed in (1, 2):
        for budget in (0.3, 0.1):
            yield Run("dynconv", 8, 1.0, seed, budget)
        yield Run("resnet", 8, 0.75, seed)
    for kernels in (1, 2, 4):
        for width in (0.25, 0.5):
            yield Run("dynet", 8, width, 0, kernels)
    for seed in range(3):
        for rate in (0.3, 0.5):
            yield Run("aig", 14, 1.0, seed, rate)
    for ponder in (0.01, 0.1, 0.001):
        yield Run("sact", 14, 1.0, 0, ponder)
    for seed in (1, 2):
        yield Run("resnet", 8, 1.0, seed)
        yield Run("resnet", 8, 0.25, seed)
    yield Run("dynconv", 8, 1.5, 0, 0.1)
    for kernels in (6, 1, 4, 2):
        yield Run("dynet", 8, 0.5, 1, kernels)
    yield Run("dynet", 8, 0.25, 1, 6)
    for width in (0.5, 0.25):
        yield Run("dynet", 8, width, 2, 6)
    yield Run("sact", 14, 1.0, 0, 0.3)
    for kernels in (4, 1, 2):
        yield Run("dynet", 8, 0.5, 2, kernels)
    for seed in (1, 2):
        for ponder in (0.1, 0.3):
            yield Run("sact", 14, 1.0, seed, ponder)
