import argparse
import bz2
import gzip
import io
import json
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.networks.zoo import build_network


@pytest.fixture
def network() -> nn.Module:
    return build_network("cifar_resnet", {"depth": 8})


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("inside", [True, False], ids=["state_dict", "bare"])
def test_both_prefixes_and_both_places_load(network: nn.Module, tmp_path: Path, prefix: str, inside: bool) -> None:
    source = build_network("cifar_resnet", {"depth": 8})
    state = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3} if inside else state, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in source.state_dict().items())


def test_batch_counts_may_be_absent(network: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")


def test_a_wrong_architecture_is_described_and_nothing_is_loaded(network: nn.Module, tmp_path: Path) -> None:
    other = build_network("cifar_resnet", {"depth": 14, "classes": 7}).state_dict()
    other["fc.skala"] = other.pop("fc.bias")
    torch.save(other, tmp_path / "c.pth")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(Dyn2trtError) as error:
        load_checkpoint(network, tmp_path / "c.pth")
    message = str(error.value)
    assert "missing fc.bias" in message
    assert "unexpected layer1.1.conv1.weight" in message
    assert "more" in message
    assert "misshapen fc.weight [7, 64] instead of [10, 64]" in message
    assert "\n" not in message
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(network: nn.Module, tmp_path: Path, value: float) -> None:
    state = network.state_dict()
    state["layer2.0.conv1.weight"][3, 0, 0, 0] = value
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(Dyn2trtError, match=r"NaN or infinite, in layer2\.0\.conv1\.weight"):
        load_checkpoint(build_network("cifar_resnet", {"depth": 8}), tmp_path / "c.pth")


class Payload:
    """Runs code when unpickled: the marker file shows whether it did."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self.marker),)


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))], ids=["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(network: nn.Module, tmp_path: Path, save: object) -> None:
    marker = tmp_path / "ran"
    save({"state_dict": Payload(str(marker))}, tmp_path / "c.pth")  # type: ignore[operator]
    with pytest.raises(Dyn2trtError, match="not run"):
        load_checkpoint(network, tmp_path / "c.pth")
    assert not marker.exists()


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(network: nn.Module, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "c.pth"
    torch.save(network.state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(Dyn2trtError, match=r"c\.pth is (truncated|no checkpoint)"):
        load_checkpoint(network, path)


def test_no_advice_to_run_code_is_passed_on(network: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_bytes(b"#\x00\x01\x02")
    with pytest.raises(Dyn2trtError, match=r"c\.pth is no checkpoint .* \(Unsupported operand 35\)$"):
        load_checkpoint(network, tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("content", "found"),
    [([1, 2], "no dict"), ({"epoch": 3, "weights": {}}, "epoch, weights"), ({}, "the keys")],
)
def test_a_file_without_a_state_dict_says_what_it_holds(
    network: nn.Module, tmp_path: Path, content: object, found: str
) -> None:
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(Dyn2trtError, match=f"no state dict.*{found}"):
        load_checkpoint(network, tmp_path / "c.pth")


def test_a_missing_file_or_a_folder_is_named(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError, match="no checkpoint at"):
        load_checkpoint(network, tmp_path / "absent.pth")
    with pytest.raises(Dyn2trtError, match=tmp_path.name):
        load_checkpoint(network, tmp_path)


@pytest.mark.parametrize(
    "prefix",
    ["model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.model.", "model.module.", "network.backbone."],
)
def test_any_prefix_that_all_keys_share_goes(network: nn.Module, tmp_path: Path, prefix: str) -> None:
    source = build_network("cifar_resnet", {"depth": 8})
    torch.save({prefix + key: value for key, value in source.state_dict().items()}, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in source.state_dict().items())


def test_a_prefix_of_the_network_itself_stays(tmp_path: Path) -> None:
    network = nn.ModuleDict({"model": nn.ModuleDict({"model": nn.Linear(2, 2)})})
    source = {f"module.{key}": torch.full_like(value, 3) for key, value in network.state_dict().items()}
    torch.save(source, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")
    assert all((value == 3).all() for value in network.state_dict().values())


def test_a_module_compiled_by_itself_loads(network: nn.Module, tmp_path: Path) -> None:
    state = {key.replace("layer1.", "layer1._orig_mod."): value for key, value in network.state_dict().items()}
    assert state.keys() != network.state_dict().keys()
    torch.save(state, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": []}},
        lambda state: {"model": state, "ema": {key: value * 0 for key, value in state.items()}, "epoch": 3},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"my_own_name": state, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"params": {key: value.numpy() for key, value in state.items()}},
    ],
    ids=["model_state_dict", "beside its average", "nested", "the only one", "arrays"],
)
def test_wrappers_around_a_state_dict_are_opened(
    network: nn.Module, tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    source = build_network("cifar_resnet", {"depth": 8}).state_dict()
    torch.save(wrap(source), tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in source.items())


def test_data_of_numpy_beside_the_weights_is_no_code(network: nn.Module, tmp_path: Path) -> None:
    beside = {
        "best": np.float64(0.91),
        "epoch": np.int64(7),
        "flag": np.bool_(True),
        "curve": np.arange(5, dtype=np.float32),
        "names": np.array(["a", "b"]),
        "mixed": np.array([1, None], dtype=object),
    }
    torch.save({"state_dict": network.state_dict(), **beside}, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")
    old = (tmp_path / "c.pth").read_bytes()  # NumPy 1 wrote another module's name.
    renamed = zipfile.ZipFile(tmp_path / "old.pth", "w", zipfile.ZIP_STORED)
    with zipfile.ZipFile(io.BytesIO(old)) as archive, renamed:
        for entry in archive.namelist():
            renamed.writestr(entry, archive.read(entry).replace(b"numpy._core.multi", b"numpy.core.multi"))
    load_checkpoint(network, tmp_path / "old.pth")


def test_an_object_array_hides_no_code(network: nn.Module, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hidden = np.array([Payload(str(marker))], dtype=object)
    torch.save({"state_dict": network.state_dict(), "curve": hidden}, tmp_path / "c.pth")
    with pytest.raises(Dyn2trtError, match="not run"):
        load_checkpoint(network, tmp_path / "c.pth")
    assert not marker.exists()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_counters_of_profilers_are_left_out(network: nn.Module, tmp_path: Path, prefix: str) -> None:
    state = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
    for module in ("", f"{prefix}conv1.", f"{prefix}layer1.0."):
        state |= {f"{module}total_ops": torch.zeros(1), f"{module}total_params": torch.zeros(1)}
    state["n_averaged"] = torch.tensor(4)
    torch.save(state, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer.*git lfs pull"),
        (gzip.compress(b"weights"), "gzip data; unpack it"),
        (b'{"epoch": 3, "weights": [1, 2]}', "JSON"),
        (b"\xef\xbb\xbf  [1, 2]", "JSON"),
        (b"", "an empty file"),
        (b"\0" * 4096, "nothing but zeros"),
        (b"# a text file", "a text file"),
        (bz2.compress(b"weights"), "bzip2"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 64, "HDF5"),
    ],
    ids=["html", "lfs", "gzip", "json", "json with bom", "empty", "zeros", "text", "bzip2", "hdf5"],
)
def test_what_is_no_checkpoint_is_named_as_what_it_is(
    network: nn.Module, tmp_path: Path, content: bytes, kind: str
) -> None:
    (tmp_path / "c.pth").write_bytes(content)
    with pytest.raises(Dyn2trtError, match=rf"c\.pth is no checkpoint: it is .*{kind}"):
        load_checkpoint(network, tmp_path / "c.pth")


@pytest.mark.parametrize("archive", ["zip", "npz", "tar", "torchscript", "module"])
def test_archives_that_hold_no_state_dict_are_refused_in_a_line(
    network: nn.Module, tmp_path: Path, archive: str
) -> None:
    path = tmp_path / "c.pth"
    if archive == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("weights.txt", "1 2 3")
    elif archive == "npz":
        with open(path, "wb") as stream:
            np.savez(stream, x=np.zeros(3))
    elif archive == "tar":
        (tmp_path / "w.txt").write_text("1")
        with tarfile.open(path, "w") as tar:
            tar.add(tmp_path / "w.txt")
    elif archive == "torchscript":
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    else:
        torch.save(nn.Linear(2, 2), path)
    said = {
        "zip": "a ZIP archive",
        "npz": "NumPy arrays",
        "tar": "a tar archive",
        "torchscript": "a TorchScript archive",
    }
    with pytest.raises(Dyn2trtError, match=said.get(archive, "code in a checkpoint is not run")) as error:
        load_checkpoint(network, path)
    assert "\n" not in str(error.value)


def safetensors_of(state: dict[str, torch.Tensor]) -> bytes:
    """The bytes of a safetensors file, as its format page says: length of the header, header, data."""
    names = {torch.float32: "F32", torch.int64: "I64"}
    header, data = {}, b""
    for key, value in state.items():
        raw = value.contiguous().numpy().tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[key] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_safetensors_load(network: nn.Module, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    source = build_network("cifar_resnet", {"depth": 8}).state_dict()
    (tmp_path / "c.safetensors").write_bytes(safetensors_of({f"model.{k}": v for k, v in source.items()}))
    load_checkpoint(network, tmp_path / "c.safetensors")
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in source.items())
    (tmp_path / "c.safetensors").write_bytes(safetensors_of(source)[:-7])
    with pytest.raises(Dyn2trtError, match="truncated"):
        load_checkpoint(network, tmp_path / "c.safetensors")


def test_safetensors_without_the_package_names_the_install(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "c.pth").write_bytes(safetensors_of(network.state_dict()))
    with pytest.raises(MissingDependency, match="pip install safetensors"):
        load_checkpoint(network, tmp_path / "c.pth")
