"""The table of all networks, ``networks.json``: ``python -m dyn2trt.networks.table`` writes it from the builders."""

from __future__ import annotations

import importlib
import json
import pkgutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import dyn2trt.networks
from dyn2trt.files import write_text
from dyn2trt.networks.options import Option
from dyn2trt.networks.registry import REGISTERED, Dynamic, NetworkEntry

PATH = Path(__file__).with_name("networks.json")


def table() -> str:
    """The table as JSON, by what is dynamic, then by name; imports every module of `dyn2trt.networks`, and torch."""
    for module in pkgutil.iter_modules(dyn2trt.networks.__path__):
        if module.name != "zoo":  # which reads the table
            importlib.import_module(f"dyn2trt.networks.{module.name}")
    kinds = get_args(Dynamic)
    entries = sorted(REGISTERED.values(), key=lambda entry: (kinds.index(entry.dynamic), entry.name))
    return json.dumps([asdict(entry) for entry in entries], indent=1) + "\n"


def read_table() -> dict[str, NetworkEntry]:
    """The networks by name, as the table has them; imports no network."""
    rows: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))
    return {row["name"]: _entry(row) for row in rows}


def _entry(row: dict[str, Any]) -> NetworkEntry:
    options = tuple(Option(**{**option, "choices": tuple(option["choices"])}) for option in row["options"])
    return NetworkEntry(**{**row, "input_shape": tuple(row["input_shape"]), "options": options})


if __name__ == "__main__":
    write_text(PATH, table())
