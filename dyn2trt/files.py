"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dyn2trt.errors import Dyn2trtError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than may be written (ulimit -f, or the file system's limit)",
}
_UNWRITABLE = (
    *(errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT),
    *(errno.ENOTDIR, errno.EPERM, errno.EROFS),
)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends without an exception.

    A block that fails, or is interrupted, leaves what was at ``path`` as it was.

    Raises:
        Dyn2trtError: the folder cannot be made or written to, or there is no room.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in _FULL:
            reason = _FULL[error.errno]
            raise Dyn2trtError(f"{reason}: {target} was not written; make room for it and run again") from error
        if error.errno in _UNWRITABLE:
            raise Dyn2trtError(f"cannot write {target}: {error.strerror}; choose another path") from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether `replacing` can write there; makes the folder.

    Raises:
        Dyn2trtError: the folder cannot be made or written to, or the path is a folder.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        if error.errno in _UNWRITABLE:
            raise Dyn2trtError(f"cannot write {target}: {error.strerror}; choose another path") from error
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex digest of a file's contents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
