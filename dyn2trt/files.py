"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
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
    *(errno.ENOTDIR, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENXIO),
)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path whose content is at ``path`` when the block ends without an exception.

    A regular file, or one to come, is replaced: a block that fails, or is interrupted, leaves what was there as it
    was. A symbolic link stays, and what it points to is replaced. What is no regular file (a FIFO, a device) stays
    too, and so does what is open already (/dev/stdout, /dev/fd/3): the content is written into it.

    Raises:
        Dyn2trtError: the folder cannot be made or written to, the path is a folder or a socket, or there is no room.
    """
    shown, temporary = Path(path), None
    try:
        target = _target(shown)
        if target is None:
            folder = Path(tempfile.gettempdir())
        else:
            folder = target.parent
            folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{shown.name}.", suffix=shown.suffix, dir=folder)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if target is None:
            with temporary.open("rb") as content, shown.open("wb", buffering=0) as node:
                shutil.copyfileobj(content, node)
            return
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in _FULL:
            reason = _FULL[error.errno]
            raise Dyn2trtError(f"{reason}: {shown} was not written; make room for it and run again") from error
        if error.errno in _UNWRITABLE:
            raise Dyn2trtError(f"cannot write {shown}: {error.strerror}; choose another path") from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether `replacing` can write there; makes the folder.

    Raises:
        Dyn2trtError: the folder cannot be made or written to, or the path is a folder.
    """
    shown = Path(path)
    try:
        target = _target(shown)
        if target is None:
            if not os.access(shown, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        if error.errno in _UNWRITABLE:
            raise Dyn2trtError(f"cannot write {shown}: {error.strerror}; choose another path") from error
        raise


def can_be_read_back(path: str | os.PathLike[str]) -> bool:
    """Whether what `replacing` writes there is a file afterwards, and no FIFO's or device's."""
    return _target(Path(path)) is not None


def _target(path: Path) -> Path | None:
    """The regular file, there or to come, that ``path`` stands for; None for what is written into as it is.

    Raises:
        OSError: it is a folder, a socket, or links in a circle.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:  # Nothing there, or a link to nothing yet.
        return Path(os.path.realpath(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISSOCK(mode):
        raise OSError(errno.ENXIO, "it is a socket")
    # The files behind /dev/stdout and /dev/fd/3 are open already: who opened them reads them through that.
    parts = Path(os.path.abspath(path)).parts[1:3]
    opened = parts[:1] == ("proc",) or parts in (("dev", "stdout"), ("dev", "stderr"), ("dev", "fd"))
    return None if opened or not stat.S_ISREG(mode) else Path(os.path.realpath(path))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex digest of a file's contents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
