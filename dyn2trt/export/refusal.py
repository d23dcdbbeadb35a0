"""Why a user's network cannot be exported, in one message: what, in which module, at which line, and the mend."""

from __future__ import annotations

import linecache
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

import dyn2trt
from dyn2trt.errors import Dyn2trtError

STATIC_FLOW = "its control flow must not depend on the values of tensors (torch.where chooses between two)"

_FOREIGN = tuple(
    f"{Path(path).resolve()}/"
    for path in (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), *torch.__path__, *dyn2trt.__path__)
)
_POOLS = ("adaptive_avg_pool", "adaptive_max_pool")


def refused_forward(error: BaseException, what: str) -> Dyn2trtError:
    """The error of a forward pass that is traced; ``what`` begins the message, as in "the network refuses an input"."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    data_dependent = (GuardOnDataDependentSymNode, DataDependentOutputException, DynamicOutputShapeException)
    mend = ""
    if any(isinstance(cause, data_dependent) for cause in _chain(error)):
        text, mend = "a value of a tensor decides what runs next", f"; {STATIC_FLOW}"
    elif ".numpy()" in text or ("numpy" in text and "subclass" in text):
        text, mend = "a tensor is handed to numpy, which no trace follows", "; do the same in torch"
    elif fixed := re.search(r"size\(\)\[(\d)\] .*constant \((\d+)\)", str(error)):
        axis = ("batch", "channels", "height", "width")[int(fixed[1])]
        text = f"its {axis} can only be {fixed[2]} (a shape that is written out, or torch.linspace, fixes it)"
    elif not isinstance(error, RuntimeError):
        text = f"{type(error).__name__}: {text}"
    return Dyn2trtError(f"{what}{_place_of(error)}: {text[:300]}{mend}")


def refused_conversion(error: BaseException, program: torch.export.ExportedProgram) -> Dyn2trtError:
    """The error of ``torch.onnx`` for an operation of ``program``."""
    messages = [str(cause) for cause in _chain(error)]
    node = _named_in(messages, program) or _named_in(messages, program.run_decompositions())
    if node is None:
        return Dyn2trtError(
            f"torch.onnx cannot write the network: {_first_line(messages[-1])}; --debug shows all of it"
        )
    missing = any("No ONNX function found" in text for text in messages)
    why = "ONNX has no operator for it" if missing else f"torch.onnx fails at it ({_first_line(messages[-1])})"
    return Dyn2trtError(
        f"{_op(node)}{_place(node)} cannot be exported: {why}; write it in operations that ONNX has, or do it outside "
        "of the network"
    )


def _named_in(messages: Sequence[str], program: torch.export.ExportedProgram) -> Any:
    named = (node for node in program.graph.nodes if any(f" %{node.name} :" in text for text in messages))
    return next(named, None)


def check_program(program: torch.export.ExportedProgram) -> None:
    """Refuse what ``torch.onnx`` writes without a word as something else.

    Those are adaptive pooling of a dynamic size to a fixed one, which becomes that of the traced size alone, and a
    BatchNorm that has running statistics but normalises by those of the batch, which becomes one in evaluation.

    Raises:
        Dyn2trtError: names the first.
    """
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.batch_norm.default and node.args[3] is not None and node.args[5]:
            raise Dyn2trtError(
                f"batch_norm by the statistics of the batch{_place(node)} cannot be exported; let it be in evaluation "
                "after network.eval(), or make it with track_running_stats=False"
            )
        if not any(pool in str(node.target) for pool in _POOLS):
            continue
        size, wanted = node.args[0].meta["val"].shape, node.args[1]
        wanted = [wanted] if isinstance(wanted, int) else list(wanted)
        pairs = zip(size[-len(wanted) :], wanted, strict=True)
        if any(not isinstance(given, int) and out != 1 and not _is_size(out, given) for given, out in pairs):
            shown = "x".join(map(str, wanted))
            raise Dyn2trtError(
                f"{_op(node)} to {shown}{_place(node)} cannot be exported with a dynamic size, for its windows depend "
                "on the size; export a static size, or pool to 1x1 or by a fixed kernel"
            )


def _is_size(wanted: Any, given: torch.SymInt) -> bool:
    """Whether pooling leaves a dynamic size as it is."""
    return isinstance(wanted, torch.fx.Node) and str(wanted.meta["val"]) == str(given)


def _op(node: Any) -> str:
    return str(getattr(node.target, "_schema", node.target).name).rpartition("::")[2].lstrip("_")


def _place(node: Any) -> str:
    """Module and line of a traced operation: " in head (Head) at net.py:12, `y.kthvalue(2)`"."""
    modules = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = modules[-1] if modules else ("", "")
    text = f" in {path or 'the network'} ({str(kind).rpartition('.')[2]})" if modules else ""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith('File "') and not lines[index][6:].startswith(_FOREIGN):
            file, number = lines[index][6:].split('"')[0], lines[index].split(", ")[1].removeprefix("line ")
            code = f", `{lines[index + 1]}`" if index + 1 < len(lines) else ""
            return f"{text} at {file}:{number}{code}"
    return text


def _place_of(error: BaseException) -> str:
    """The same for an exception: the innermost module of the network, and the last line of the user's own code."""
    module, line = "", ""
    names: dict[int, str] = {}
    for traceback in _frames(error.__traceback__):
        frame = traceback.tb_frame
        owner, file = frame.f_locals.get("self"), frame.f_code.co_filename
        if isinstance(owner, nn.Module):
            names = names or {id(child): name for name, child in owner.named_modules()}
            if id(owner) in names:
                path = names[id(owner)].removeprefix("_export_root").lstrip(".")
                module = f" in {path or 'the network'} ({type(owner).__name__})"
        if not file.startswith((*_FOREIGN, "<")):
            code = linecache.getline(file, traceback.tb_lineno).strip()
            line = f" at {file}:{traceback.tb_lineno}" + (f", `{code}`" if code else "")
    return f"{module}{line}" if module else ""


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")[:300]
