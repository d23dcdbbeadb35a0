"""Files that are either whole or absent."""

import errno
import os
import stat
from pathlib import Path

import pytest

from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import check_writable, replacing, write_text


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "model.onnx"
    with replacing(target) as temporary:
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EFBIG, "ulimit")]
)
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, number: int, said: str) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    with pytest.raises(Dyn2trtError, match=rf"{said}.*: .*model\.onnx was not written"), replacing(target):
        raise OSError(number, os.strerror(number))
    assert target.read_bytes() == b"old"


def test_a_path_under_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Dyn2trtError, match="choose another path"):
        write_text(tmp_path / "file" / "report.md", "text")
    with pytest.raises(Dyn2trtError, match="choose another path"):
        check_writable(tmp_path / "file" / "report.md")


def test_checking_leaves_no_file(tmp_path: Path) -> None:
    check_writable(tmp_path / "report.md")
    with pytest.raises(Dyn2trtError, match="Is a directory"):
        check_writable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_usual_permissions_apply(tmp_path: Path) -> None:
    write_text(tmp_path / "report.md", "text")
    (tmp_path / "plain").write_text("text")
    assert stat.S_IMODE((tmp_path / "report.md").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
