"""Files that are either whole or absent."""

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import can_be_read_back, check_writable, replacing, write_text


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


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "disk" / "model.onnx"
    target.parent.mkdir()
    target.write_text("old")
    link, second = tmp_path / "link.onnx", tmp_path / "second.onnx"
    link.symlink_to(target)
    second.symlink_to("link.onnx")
    check_writable(second)
    write_text(second, "new")
    assert second.is_symlink()
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]


def test_a_link_to_nothing_yet_is_followed_and_a_circle_told(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new" / "model.onnx")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "new" / "model.onnx").read_text() == "text"
    (tmp_path / "circle").symlink_to("circle")
    for write in (check_writable, lambda path: write_text(path, "text")):
        with pytest.raises(Dyn2trtError, match=r"circle: .*choose another path"):
            write(tmp_path / "circle")


def test_a_fifo_is_written_into(tmp_path: Path) -> None:
    fifo = tmp_path / "model.onnx"
    os.mkfifo(fifo)
    check_writable(fifo)
    assert not can_be_read_back(fifo)
    came: list[str] = []
    reader = threading.Thread(target=lambda: came.append(fifo.read_text()))
    reader.start()
    write_text(fifo, "text")
    reader.join(10)
    assert came == ["text"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_bytes(b"")
    except OSError:
        null = Path("/dev/null")  # Without the right to make one this test must not have the right to replace it.
        if os.access("/dev", os.W_OK):
            pytest.skip("no device can be made here, and /dev/null is not risked")
    check_writable(null)
    write_text(null, "text")
    assert stat.S_ISCHR(null.stat().st_mode)


def test_a_failing_block_writes_nothing_into_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ValueError, match="half"), replacing(fifo) as temporary:  # Would wait for a reader otherwise.
        temporary.write_text("half")
        raise ValueError("half")
    assert not temporary.exists()


@pytest.mark.parametrize("redirected", ["file", "pipe"])
def test_standard_output_is_written_into(tmp_path: Path, redirected: str) -> None:
    code = "from dyn2trt.files import write_text; write_text('/dev/stdout', 'text')"
    if redirected == "pipe":
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"text"
        return
    with open(tmp_path / "out", "wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
        assert os.fstat(file.fileno()).st_ino == (tmp_path / "out").stat().st_ino
    assert (tmp_path / "out").read_text() == "text"


def test_a_socket_and_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # The name of a socket is short.
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        (tmp_path / "folder").mkdir()
        for name, said in (("socket", "it is a socket"), ("folder", "Is a directory")):
            with pytest.raises(Dyn2trtError, match=f"cannot write {name}: {said}"):
                write_text(name, "text")
            with pytest.raises(Dyn2trtError, match=f"cannot write {name}: {said}"):
                check_writable(name)
