"""ONNX models as files and as what runtimes load, with their weights inside or, beyond protobuf's limit, beside."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import replacing, sha256

EMBEDDED_LIMIT = 2**31 - 2**26
"""Bytes of weights from which on they lie beside the model: a protobuf has less than 2 GiB."""

_SMALLEST, _ALIGNMENT = 1024, 4096
"""Bytes: of a tensor that is worth moving, and what its offset is a multiple of, so that it can be mapped."""
_DIGEST = 16
_DATA = re.compile(rf"\.([0-9a-f]{{{_DIGEST}}})\.data$")


def weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the model's initializers."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


@contextmanager
def writing_model(model: onnx.ModelProto, path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write ``model`` to a temporary file, yield it, and let it take the place of ``path``, whole or not at all.

    Weights beyond `EMBEDDED_LIMIT` go into ``<name>.<digest>.data`` beside it. The digest is of its content, so a model
    never finds another's weights there, and the new data can lie beside the old ones until the model is replaced; the
    old ones go then.

    Raises:
        Dyn2trtError: it cannot be written, or would need a file beside a path that is none (a FIFO, a device).
    """
    target = Path(path)
    with replacing(target) as temporary:
        if weight_bytes(model) <= EMBEDDED_LIMIT:
            temporary.write_bytes(model.SerializeToString(deterministic=True))
            yield temporary
            data = None
        else:
            folder = Path(os.path.realpath(target)).parent
            if temporary.parent != folder:
                raise Dyn2trtError(
                    f"{target} is no regular file, and the weights need a file beside it; choose another"
                )
            slim, data, new = _unload(model, folder, target.name)
            try:
                temporary.write_bytes(slim.SerializeToString(deterministic=True))
                yield temporary
            except BaseException:
                if new:
                    data.unlink(missing_ok=True)
                raise
    for other in target.parent.glob(f"{_escaped(target.name)}.*.data"):
        if other.name != (data and data.name) and _DATA.search(other.name):
            other.unlink(missing_ok=True)


def save_model(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Write ``model``, whole or not at all; see `writing_model`."""
    with writing_model(model, path):
        pass


def read_model(path: str | os.PathLike[str], *, weights: bool = True) -> onnx.ModelProto:
    """Read a model, and its weights where they lie beside it.

    Raises:
        Dyn2trtError: its weights are not there, or not those that it was written with.
        OSError, google.protobuf.message.DecodeError: it cannot be read.
    """
    model = onnx.load(path, load_external_data=False)
    if not weights:
        return model
    folder = Path(path).parent
    for location in data_files(model):
        file, digest = folder / location, _DATA.search(location)
        if not file.is_file():
            raise Dyn2trtError(f"the weights of {path} lie in {location}, which is not beside it; move both together")
        if digest is not None and not sha256(file).startswith(digest[1]):
            raise Dyn2trtError(f"{file} is damaged: it does not hold the weights that {path} was written with")
    load_external_data_for_model(model, str(folder))
    return model


def data_files(model: onnx.ModelProto) -> list[str]:
    """Names of the files that the weights lie in, relative to the model's folder."""
    external = filter(uses_external_data, model.graph.initializer)
    return list(dict.fromkeys(ExternalDataInfo(tensor).location for tensor in external))


@contextmanager
def loadable(model: onnx.ModelProto) -> Iterator[bytes | str]:
    """What ``onnxruntime.InferenceSession`` takes: bytes, or the path of a file that lasts as long as the context."""
    if weight_bytes(model) <= EMBEDDED_LIMIT:
        yield model.SerializeToString()
        return
    with tempfile.TemporaryDirectory(prefix="dyn2trt-") as folder:
        path = Path(folder, "model.onnx")
        save_model(model, path)
        yield str(path)


def _unload(model: onnx.ModelProto, folder: Path, name: str) -> tuple[onnx.ModelProto, Path, bool]:
    """Write the weights into ``folder``; returns the model that names them, their file, and whether it is new."""
    opened = ir.serde.deserialize_model(model)
    digest, places = hashlib.sha256(), []
    with tempfile.NamedTemporaryFile(prefix=f".{name}.", suffix=".data", dir=folder, delete=False) as file:
        try:
            for value in opened.graph.initializers.values():
                tensor = value.const_value
                if tensor is None or tensor.nbytes < _SMALLEST or tensor.dtype == ir.DataType.STRING:
                    continue
                content = tensor.tobytes()
                padding = bytes(-file.tell() % _ALIGNMENT)
                places.append((value, file.tell() + len(padding), len(content)))
                for part in (padding, content):
                    file.write(part)
                    digest.update(part)
            file.flush()
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(file.name, 0o666 & ~umask)
            data = folder / f"{name}.{digest.hexdigest()[:_DIGEST]}.data"
            new = not data.exists()
            os.replace(file.name, data)
        except BaseException:
            os.unlink(file.name)
            raise
    for value, offset, length in places:
        tensor = value.const_value
        assert tensor is not None
        value.const_value = ir.ExternalTensor(
            data.name,
            offset,
            length,
            tensor.dtype,
            shape=ir.Shape(tensor.numpy().shape),
            name=str(value.name),
            base_dir=folder,
        )
    return ir.serde.serialize_model(opened), data, new


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
