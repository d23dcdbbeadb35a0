"""What a network decides anew for every image: positions, layers or kernels."""

from __future__ import annotations

from typing import Literal, get_args

from dyn2trt.export.metadata import ExportMetadata

Dynamic = Literal["positions", "layers", "kernels"]

_OF_GATE = {"positions": "positions", "halting": "positions", "layer": "layers"}


def dynamic_parts(metadata: ExportMetadata) -> tuple[Dynamic, ...]:
    """Name what is dynamic in an exported network; empty for an ordinary one, and for its ungated dense export."""
    found = {_OF_GATE[block.gate] for block in metadata.blocks}
    if metadata.kernels or metadata.image_kernels:
        found.add("kernels")
    return tuple(part for part in get_args(Dynamic) if part in found)


def describe_dynamic(metadata: ExportMetadata) -> str:
    """The same in words, with how many there are; "nothing" for an ordinary network."""
    gates = [block.gate for block in metadata.blocks]
    convolutions = sum(len(predictor.convolutions) for predictor in metadata.kernels) + len(metadata.image_kernels)
    counted = {
        "positions in {} gated block{}": gates.count("positions"),
        "positions in {} halting unit{}": gates.count("halting"),
        "which of {} layer{} run": gates.count("layer"),
        "kernels of {} convolution{}": convolutions,
    }
    parts = [words.format(count, "s" * (count != 1)) for words, count in counted.items() if count]
    return " and ".join(parts) or "nothing"
