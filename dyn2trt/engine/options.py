"""How to build."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dyn2trt.engine.profiles import Shape, format_shapes, parse_shapes, parse_size
from dyn2trt.errors import Dyn2trtError

OPTIMIZATION_LEVELS = range(6)


@dataclass(frozen=True)
class BuildOptions:
    """Shapes are by input name, see `dyn2trt.engine.profiles`; a model with static shapes needs none."""

    min_shapes: Mapping[str, Shape] = field(default_factory=dict)
    opt_shapes: Mapping[str, Shape] = field(default_factory=dict)
    max_shapes: Mapping[str, Shape] = field(default_factory=dict)
    workspace: int | None = None
    """Bytes of scratch memory that a layer may use; None leaves it to TensorRT."""
    optimization_level: int | None = None
    """0 (quick build) to 5 (long search); None is TensorRT's default."""
    timing_cache: Path | None = None
    plugin_library: Path | None = None
    """None finds it, see `dyn2trt.engine.plugin_library.find_plugin_library`."""
    tf32: bool = False
    """Let fp32 convolutions round to TensorFloat-32. Off, for a gate's rounding flips decisions."""
    allow_dense_fallback: bool = False
    """Build although gated blocks are no plugins."""

    def __post_init__(self) -> None:
        if self.optimization_level is not None and self.optimization_level not in OPTIMIZATION_LEVELS:
            raise Dyn2trtError(f"the optimisation level is 0 to 5, not {self.optimization_level}")
        if self.workspace is not None and self.workspace <= 0:
            raise Dyn2trtError(f"the workspace is a positive number of bytes, not {self.workspace}")

    @classmethod
    def parse(
        cls,
        *,
        min_shapes: str | None = None,
        opt_shapes: str | None = None,
        max_shapes: str | None = None,
        workspace: str | None = None,
        **others: Any,
    ) -> Self:
        """Options whose shapes and size are still text, as on the command line and in a recipe's ``[build]``.

        Raises:
            Dyn2trtError: they are not written as trtexec has them.
        """
        return cls(
            min_shapes=parse_shapes(min_shapes) if min_shapes else {},
            opt_shapes=parse_shapes(opt_shapes) if opt_shapes else {},
            max_shapes=parse_shapes(max_shapes) if max_shapes else {},
            workspace=parse_size(workspace) if workspace else None,
            **others,
        )

    def command(self, onnx_path: Path, plan_path: Path) -> str:
        """Return the command line that builds the same again."""
        shapes = {"--min-shapes": self.min_shapes, "--opt-shapes": self.opt_shapes, "--max-shapes": self.max_shapes}
        values = {
            **{option: format_shapes(given) or None for option, given in shapes.items()},
            "--workspace": self.workspace,
            "--optimization-level": self.optimization_level,
            "--timing-cache": self.timing_cache,
            "--plugins": self.plugin_library,
        }
        words = ["dyn2trt", "build", str(onnx_path), "-o", str(plan_path)]
        words += [word for option, value in values.items() if value is not None for word in (option, str(value))]
        words += ["--tf32"] * self.tf32 + ["--allow-dense-fallback"] * self.allow_dense_fallback
        return shlex.join(words)
