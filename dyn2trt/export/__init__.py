"""Export: a gated torch network becomes one ONNX file. (Recipes are in the folder ``export/`` at the top.)

``metadata`` is what the file says about itself, ``surgery`` derives other graphs from a written file (no torch
needed), ``exporter`` writes it. Importing this package imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dyn2trt.export.exporter import export_network as export_network

__all__ = ["export_network"]


def __getattr__(name: str) -> Any:
    if name == "export_network":
        from dyn2trt.export.exporter import export_network

        return export_network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
