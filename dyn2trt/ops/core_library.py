"""The CUDA core library by ctypes: its parameter structs, its functions, its errors.

Mirrors ``plugins/core/include/dyn2trt/core.h``; loading compares the version and the size of every struct. The CPU
emulator builds the same interface over CPU pointers, which is how the tests reach it without a GPU.
"""

from __future__ import annotations

import ctypes
import os
import sysconfig
from ctypes import Structure, c_char_p, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path

from dyn2trt.contract import VERSION
from dyn2trt.errors import Dyn2trtError

ENVIRONMENT = "DYN2TRT_CORE_LIBRARY"
LIBRARY = "libdyn2trt_core.so"

ALLOW_TF32 = 1
GENERIC_ONLY = 2
NCHW, NHWC = 0, 1
CHAIN = -1
"""The variant of a gated block that launches the general kernels one after another."""


def tile(convolution: int, number: int) -> int:
    """The flag that forces a tile, by its number in its list of tiles.h, on a convolution, counted by launches."""
    return (number + 1) << (8 + 4 * convolution)


class Dense(Structure):
    """A dense tensor [n, c, h, w]; strides in elements."""

    _fields_ = (
        ("data", c_void_p),
        *((name, c_int32) for name in "nchw"),
        *((f"stride_{name}", c_int64) for name in "nchw"),
        ("layout", c_int32),
    )


class Geometry(Structure):
    _fields_ = tuple(
        (name, c_int32)
        for name in (
            *("kernel_h", "kernel_w", "stride_h", "stride_w"),
            *("pad_top", "pad_left", "pad_bottom", "pad_right"),
            *("dilation_h", "dilation_w"),
        )
    )


class SiteSet(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("sites", "slots", "count")),
        *((name, c_int32) for name in "nhw"),
    )


class MaskGather(Structure):
    _fields_ = (
        ("dtype", c_int32),
        ("flags", c_uint32),
        ("mask", c_void_p),
        ("mask_h", c_int32),
        ("mask_w", c_int32),
        ("threshold", c_float),
        ("geometry", Geometry),
        ("set", SiteSet),
        ("x", Dense),
        ("rows", c_void_p),
    )


class SparseConv(Structure):
    _fields_ = (
        ("dtype", c_int32),
        ("flags", c_uint32),
        *((name, c_int32) for name in ("activation", "c_in", "c_out", "group")),
        ("geometry", Geometry),
        *((name, c_void_p) for name in ("rows", "weight", "bias")),
        ("input", SiteSet),
        ("output", SiteSet),
        ("rows_out", c_void_p),
    )


class MaskScatter(Structure):
    _fields_ = (
        ("dtype", c_int32),
        ("flags", c_uint32),
        ("reduction", c_int32),
        ("activation", c_int32),
        ("base", Dense),
        ("rows", c_void_p),
        ("set", SiteSet),
        ("y", Dense),
    )


class Gate(Structure):
    """Who decides: a kind of `GATES`, given logits or the gate's weights, and where its logits go."""

    _fields_ = (
        ("kind", c_int32),
        ("threshold", c_float),
        *((name, c_void_p) for name in ("given", "weight", "bias", "pooled_weight", "pooled_bias")),
        ("hidden", c_int32),
        ("logits", c_void_p),
    )


class Convolution(Structure):
    """Weight and bias of a block's convolution."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p), ("c_out", c_int32))


class GatedBlock(Structure):
    """Any composite; ``kind`` is one of `BLOCKS`."""

    _fields_ = (
        ("kind", c_int32),
        ("dtype", c_int32),
        ("flags", c_uint32),
        *((name, c_int32) for name in ("variant", "activation", "stride_h", "stride_w")),
        ("gate", Gate),
        *((name, Dense) for name in ("x", "identity", "y")),
        ("convolutions", Convolution * 3),
    )


_PRIMITIVES: dict[str, type[Structure]] = {
    "mask_gather": MaskGather,
    "sparse_conv": SparseConv,
    "mask_scatter": MaskScatter,
}
STRUCTS: tuple[type[Structure], ...] = (Dense, Geometry, SiteSet, *_PRIMITIVES.values(), Gate, Convolution, GatedBlock)


class CoreLibrary:
    """A loaded core library.

    Raises:
        Dyn2trtError: it does not load, or was built from other sources than this package's.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.functions = ctypes.CDLL(str(path))
            version = self.functions.dyn2trt_abi_version()
        except (OSError, AttributeError) as error:
            raise Dyn2trtError(f"cannot load the core library {path}: {error}; build it again") from error
        self.functions.dyn2trt_sizeof.restype = c_size_t
        self.functions.dyn2trt_sizeof.argtypes = [c_char_p]
        self.functions.dyn2trt_last_error.restype = c_char_p
        self.functions.dyn2trt_status_name.restype = c_char_p
        sizes = {s: self.functions.dyn2trt_sizeof(f"Dyn2trt{s.__name__}".encode()) for s in STRUCTS}
        wrong = [s.__name__ for s, size in sizes.items() if size != ctypes.sizeof(s)]
        if version != VERSION or wrong:
            raise Dyn2trtError(
                f"{path} has interface {version}, this package expects {VERSION}"
                f"{' and other structs ' + ', '.join(wrong) if wrong else ''}; build it again from these sources"
            )
        for name in _PRIMITIVES:
            self._function(name).argtypes = [c_void_p, c_void_p]
        self._function("gated_block").argtypes = [c_void_p, c_void_p, c_size_t, c_void_p]
        self._function("gated_block_workspace").argtypes = [c_void_p, c_void_p]
        self._function("gated_block_variant").argtypes = [c_int32, c_int32]
        self._function("gated_block_variant").restype = c_char_p
        self._function("gated_block_choice").argtypes = [c_void_p, c_int32]

    def primitive(self, name: str, params: Structure, stream: int) -> None:
        """Launch ``mask_gather``, ``sparse_conv`` or ``mask_scatter``.

        Raises:
            Dyn2trtError: the library refused the parameters or the launch.
        """
        self._check(name, self._function(name)(ctypes.byref(params), stream))

    def workspace(self, params: GatedBlock) -> int:
        """Bytes of workspace, aligned to 256, that a gated block wants.

        Raises:
            Dyn2trtError: the sizes contradict each other.
        """
        size = c_size_t()
        self._check(
            "gated_block", self.functions.dyn2trt_gated_block_workspace(ctypes.byref(params), ctypes.byref(size))
        )
        return size.value

    def gated_block(self, params: GatedBlock, workspace: int, workspace_bytes: int, stream: int) -> None:
        """Launch a gated block.

        Raises:
            Dyn2trtError: the library refused the parameters, the workspace or a launch.
        """
        arguments = (ctypes.byref(params), workspace, workspace_bytes, stream)
        self._check("gated_block", self.functions.dyn2trt_gated_block(*arguments))

    def variants(self, kind: int) -> tuple[str, ...]:
        """Names of the fused kernels for a block of `BLOCKS`, by its index; number k of them is variant k + 1."""
        names: list[str] = []
        while (name := self.functions.dyn2trt_gated_block_variant(kind, len(names) + 1)) is not None:
            names.append(name.decode())
        return tuple(names)

    def choice(self, params: GatedBlock, architecture: int) -> int:
        """The variant that the library would choose on an architecture (90 for sm_90), `CHAIN` for none."""
        return self.functions.dyn2trt_gated_block_choice(ctypes.byref(params), architecture)

    def _function(self, name: str) -> ctypes._NamedFuncPointer:
        return getattr(self.functions, f"dyn2trt_{name}")

    def _check(self, name: str, status: int) -> None:
        if status != 0:
            kind = self.functions.dyn2trt_status_name(status).decode()
            raise Dyn2trtError(f"{name}: {kind}: {self.functions.dyn2trt_last_error().decode()}")


def find_core_library() -> Path | None:
    """Return the CUDA core library: DYN2TRT_CORE_LIBRARY, else the package's own, else the newest under ``build/``.

    Raises:
        Dyn2trtError: the environment variable names no file.
    """
    if named := os.environ.get(ENVIRONMENT):
        if not Path(named).is_file():
            raise Dyn2trtError(f"{ENVIRONMENT} is {named}, which is no file; correct or unset it")
        return Path(named).resolve()
    package = Path(__file__).resolve().parent.parent
    installed = Path(sysconfig.get_path("platlib")) / "dyn2trt"
    for folder, pattern in ((package, "lib/"), (installed, "lib/"), (package.parent / "build", "**/")):
        if found := sorted(folder.glob(pattern + LIBRARY), key=lambda path: path.stat().st_mtime):
            return found[-1]
    return None


@cache
def load_core_library() -> CoreLibrary | None:
    """The library that `find_core_library` finds, loaded once; None when there is none."""
    path = find_core_library()
    return None if path is None else CoreLibrary(path)
