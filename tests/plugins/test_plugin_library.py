"""Finding and describing the plugin library, with stand-ins for the real one."""

from __future__ import annotations

import os

import pytest

from dyn2trt.contract import VERSION
from dyn2trt.engine import plugin_library
from dyn2trt.engine.plugin_library import describe_library, find_plugin_library, load_plugin_library
from dyn2trt.engine.trt import logger
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import sha256

MARKER = b"\x7fELF...\0dyn2trt-plugins version=0.1.0 contract=%s tensorrt=%s cuda=13.0\0..."


@pytest.fixture
def library(tmp_path):
    def make(folder="", contract=str(VERSION).encode(), tensorrt=b"11.1.0", name="libdyn2trt_tensorrt11.so"):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MARKER % (contract, tensorrt))
        return path

    return make


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A source checkout and a site-packages without libraries."""
    monkeypatch.delenv(plugin_library.ENVIRONMENT, raising=False)
    monkeypatch.setattr(plugin_library, "__file__", str(tmp_path / "dyn2trt" / "engine" / "plugin_library.py"))
    monkeypatch.setattr(plugin_library.sysconfig, "get_path", lambda _: str(tmp_path / "site-packages"))
    return tmp_path


def test_environment_first(checkout, library, monkeypatch):
    library("build/release")
    named = library("elsewhere")
    monkeypatch.setenv(plugin_library.ENVIRONMENT, str(named))
    assert find_plugin_library() == named
    monkeypatch.setenv(plugin_library.ENVIRONMENT, str(named) + "x")
    with pytest.raises(Dyn2trtError, match="which is no file; correct or unset it"):
        find_plugin_library()


def test_the_newest_of_package_and_build(checkout, library):
    assert find_plugin_library() is None
    folders = ["build/release", "build/quick/plugins", "site-packages/dyn2trt/lib", "dyn2trt/lib"]
    found = [library(folder) for folder in folders]
    for newest in found:
        for path in found:
            os.utime(path, (2, 2) if path == newest else (1, 1))
        assert find_plugin_library() == newest


def test_one_library_a_major_version(checkout, library):
    ten, eleven = library("build", name="libdyn2trt_tensorrt10.so"), library("build")
    assert find_plugin_library(10) == ten
    assert find_plugin_library(11) == eleven
    assert find_plugin_library(12) is None


def test_a_library_describes_itself(library):
    path = library()
    described = describe_library(path)
    assert (described.version, described.contract, described.tensorrt, described.cuda) == (
        "0.1.0",
        str(VERSION),
        "11.1.0",
        "13.0",
    )
    assert described.sha256 == sha256(path)


def test_no_library_of_ours(tmp_path):
    path = tmp_path / "other.so"
    path.write_bytes(b"\x7fELF")
    with pytest.raises(Dyn2trtError, match="no plugin library of dyn2trt; build one: cmake"):
        describe_library(path)
    with pytest.raises(Dyn2trtError, match="cannot read the plugin library"):
        describe_library(tmp_path / "absent.so")


@pytest.mark.tensorrt
def test_a_library_for_another_tensorrt_is_not_loaded(library, tensorrt_on_cpu):
    path = library(tensorrt=b"10.3.0")
    with pytest.raises(Dyn2trtError, match=r"compiled for TensorRT 10\.3\.0, this is TensorRT 11.*build it again"):
        load_plugin_library(tensorrt_on_cpu.get_plugin_registry(), path)


@pytest.mark.tensorrt
def test_a_library_of_an_older_contract_is_not_loaded(library, tensorrt_on_cpu):
    with pytest.raises(Dyn2trtError, match="implements version 1 of the op contract, this dyn2trt version 2; build"):
        load_plugin_library(tensorrt_on_cpu.get_plugin_registry(), library(contract=b"1"))


@pytest.mark.tensorrt
def test_a_damaged_library_is_an_error_with_tensorrts_reason(library, tensorrt_on_cpu):
    builder = tensorrt_on_cpu.Builder(logger(tensorrt_on_cpu))  # the registry logs through a living builder's logger
    with pytest.raises(Dyn2trtError, match=r"does not load .*\n  TensorRT: .*(\n.*)*build it again on this machine"):
        load_plugin_library(tensorrt_on_cpu.get_plugin_registry(), library())
    del builder
