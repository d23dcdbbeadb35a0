"""The card of a trained checkpoint: data, command, seed, scores, and where it computes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyn2trt.files import sha256


def card(result: Mapping[str, Any], weights: Path, *, about: str, commands: str) -> str:
    """Write the card as Markdown.

    Args:
        result: content of ``result.json``.
        weights: the checkpoint that the card is about.
        about: the task's data, in a sentence or two.
        commands: what was typed to train it, one a line, the last for the figures.
    """
    settings, parts = result["settings"], {name: result[name] for name in ("validation", "test") if result[name]}
    options = ", ".join(f"{name} {value}" for name, value in settings["options"].items())
    shape = "x".join(map(str, settings["input_shape"]))
    blocks = list(next(iter(parts.values()))["activity"])
    aim = _aim(settings) if blocks else "without gates"
    stages = commands.strip().count("\n") + 1
    last = f", the last of {stages} trainings" if stages > 1 else ""
    lines = [
        f"# {weights.name}",
        "",
        f"Network `{settings['network']}` ({options}) for inputs of {shape}, trained {aim}.",
        "",
        f"- Data: {about}.",
        f"- Seed {settings['seed']}, precision {settings['precision']}, {result['epochs']} epochs, "
        f"{result['seconds']:.0f} s{last}; dyn2trt {result['dyn2trt']}, torch {result['torch']}.",
        f"- {result['parameters']} parameters, {weights.stat().st_size} bytes, sha256 `{sha256(weights)}`.",
        "",
        "```sh",
        commands.strip(),
        "```",
        "",
        _row("", list(parts)),
        f"|---|{'---|' * len(parts)}",
        _row("images", [str(part["images"]) for part in parts.values()]),
    ]
    for score in next(iter(parts.values()))["scores"]:
        lines.append(_row(score, [f"{part['scores'][score]:.2%}" for part in parts.values()]))
    rows = {}
    dense = ""
    if blocks:
        rows["executed of the gated blocks"] = [f"{part['executed']:.1%}" for part in parts.values()]
        dense = f" ({result['macs_dense'] / 1e6:.2f} M dense)"
    rows[f"multiply-accumulates an image{dense}"] = [f"{part['macs'] / 1e6:.2f} M" for part in parts.values()]
    if all(part["on_object"] is not None for part in parts.values()):
        rows["executed positions on the object"] = [f"{part['on_object']:.1%}" for part in parts.values()]
        rows["the object's share of the image"] = [f"{part['object_area']:.1%}" for part in parts.values()]
    lines += [_row(name, values) for name, values in rows.items()]
    if blocks:
        lines += ["", "Active positions of each gated block:", "", _row("block", list(parts))]
        lines += [f"|---|{'---|' * len(parts)}"]
    for block in blocks:
        lines.append(_row(f"`{block}`", [f"{part['activity'][block]:.1%}" for part in parts.values()]))
    return "\n".join(lines) + "\n"


def commands_before(start: Path | None) -> str:
    """What was typed to train the checkpoint that a training starts from, one a line; empty where no card says it."""
    file = start.with_name("card.md") if start is not None else None
    if file is None or not file.exists():
        return ""
    found = re.search(r"^```sh\n(.*?)^```", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def _aim(settings: Mapping[str, Any]) -> str:
    """What the gates were trained to."""
    if settings["budget"] is not None:
        return f"to a budget of {settings['budget']:g} of its gated blocks' multiply-accumulates"
    if settings["target_rate"] is not None:
        rates = settings["target_rate"]
        if isinstance(rates, list):
            return f"to execute its gated layers for {', '.join(f'{rate:g}' for rate in rates)} of the images"
        return f"to execute each gated layer for {rates:g} of the images"
    if settings["ponder"] is not None:
        return f"with a ponder cost of weight {settings['ponder']:g}"
    return "dense"


def _row(name: str, values: list[str]) -> str:
    return f"| {name} | {' | '.join(values)} |"
