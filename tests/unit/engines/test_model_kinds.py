"""Files that were given as a model and are none: named as what they are, with the next step."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_engines import default_model
from reidstream_engines.errors import ModelError
from reidstream_engines.model_kinds import what_it_is
from reidstream_engines.onnx_file import open_session

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 12582912\n"
PAGE = b"\n<!DOCTYPE html>\n<html lang=en><head><title>Sign in</title></head></html>"
OPENVINO = b'<?xml version="1.0"?>\n<net name="osnet" version="11"><layers></layers></net>'
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
RANDOM = np.random.default_rng(5).integers(0, 256, 3000, np.uint8).tobytes()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"))
    return file.getvalue()


def safetensors() -> bytes:
    head = json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(head).to_bytes(8, "little") + head + b"\0\0\0\0"


def numpy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_session(path)
    return str(caught.value)


KINDS: tuple[tuple[str, bytes, str], ...] = (
    ("model.onnx", b"", r"is empty \(0 bytes\).*fetch it again"),
    ("model.onnx", LFS, r"is a Git LFS pointer, not the model itself, which has 12\.0 MiB; run git lfs pull"),
    ("model.engine", LFS, "is a Git LFS pointer"),
    ("model.onnx", PAGE, "is an HTML page.*download the file itself"),
    ("model.pt", PAGE, "is an HTML page"),
    ("model.onnx", DENIED, "is an XML text that begins .*download the model again"),
    ("model.xml", OPENVINO, "is an OpenVINO model; give the ONNX file"),
    ("model.onnx", OPENVINO, "is an OpenVINO model"),
    ("model.onnx", b'{"error": "not found"}\n', r"""is a text that begins '\{"error": "not found"\}'"""),
    ("model.onnx", "Datei nicht gefunden: Modell für Fußgänger\n".encode(), "is a text that begins 'Datei"),
    ("model.pt", zipped("model/data.pkl", "model/data/0"), "is a PyTorch file.*export"),
    ("model.onnx", zipped("archive/data.pkl", "archive/constants.pkl"), "is a PyTorch file"),
    ("model.pth", pickle.dumps({"conv1.weight": [1.0]}, protocol=2), r"is a PyTorch file.*docs/models\.md"),
    ("model.onnx", safetensors(), "is a safetensors file: weights without a network; export"),
    ("model.keras", zipped("metadata.json", "config.json", "model.weights.h5"), "is a Keras model.*tf2onnx"),
    ("model.h5", b"\x89HDF\r\n\x1a\n" + RANDOM, "is a Keras or HDF5 file.*tf2onnx"),
    ("model.tflite", b"\x1c\0\0\0TFL3" + RANDOM, "is a TensorFlow Lite model; convert it.*tf2onnx"),
    ("model.onnx", b"\x1c\0\0\0TFL3" + RANDOM, "is a TensorFlow Lite model"),
    ("model.engine", b"ptrt" + RANDOM, "is a TensorRT plan; adopt it.*reidstream-engines adopt"),
    ("model.onnx", b"ptrt" + RANDOM, "is a TensorRT plan"),
    ("model.plan", RANDOM, "is a TensorRT plan"),
    ("model.engine", b'\x40\0\0\0{"description": "made by a trainer"}' + RANDOM, "is a TensorRT plan"),
    (
        "model.onnx",
        zipped("models/osnet.onnx", "README"),
        "is a zip archive with models/osnet.onnx in it",
    ),
    ("model.zip", zipped("a.txt"), "is a zip archive of 1 files, none of them"),
    ("model.zip", zipped("a.txt")[:20], "is a zip archive, and a damaged one"),
    ("model.npz", zipped("vectors.npy"), "is a file of NumPy arrays"),
    ("model.npy", numpy_file(), "is a NumPy array"),
    ("model.onnx.gz", b"\x1f\x8b\x08" + RANDOM, "is compressed with gzip; unpack it"),
    ("model.onnx", b"\xfd7zXZ\0" + RANDOM, "is compressed with xz"),
    ("model.onnx", tarred(), "is a tar archive; unpack it"),
    ("model.onnx", cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), "is a JPEG picture"),
    ("model.onnx", cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), "is a PNG picture"),
    ("model.pdmodel", RANDOM, "is a PaddlePaddle model; convert it to ONNX with paddle2onnx"),
    ("model.PB", RANDOM, "is a TensorFlow or Keras model"),
    ("model.bin", RANDOM, "is a file of weights without a network"),
    ("model.onnx.data", RANDOM, "is a file of weights that belongs to an ONNX file"),
)


@pytest.mark.parametrize(("name", "content", "said"), KINDS, ids=[f"{at} {row[0]}" for at, row in enumerate(KINDS)])
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """By its content first, since names lie; the path is in the message, and what to do next."""
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path} is ")
    assert "\n" not in message
    with pytest.raises(ModelError, match=said):
        open_session(path)


@pytest.mark.parametrize("kept", [20, 1000, 100_000, -1])
def test_a_download_that_broke_off(tmp_path: Path, kept: int) -> None:
    """How much is there, and how much is missing at least."""
    path = tmp_path / "model.onnx"
    path.write_bytes(default_model.PATH.read_bytes()[:kept])
    there = path.stat().st_size
    assert f"is an ONNX file that ends too early: it has {there:,} bytes, and at least " in refusal(path)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A model whose weights are in a file beside it."""
    path = tmp_path / "split.onnx"
    model = onnx.load(default_model.PATH)
    onnx.save(model, path, save_as_external_data=True, location="split.onnx.data")
    open_session(path)
    return path


def test_weights_that_are_not_beside_the_model(split: Path) -> None:
    """The file that is missing has a name."""
    split.with_name("split.onnx.data").unlink()
    assert "is an ONNX file whose weights are in split.onnx.data, which is not beside it" in refusal(split)


@pytest.mark.parametrize(
    ("content", "said"), [(LFS, "and is a Git LFS pointer"), (RANDOM, "and is a part of it; fetch it again")]
)
def test_weights_that_are_not_all_there(split: Path, content: bytes, said: str) -> None:
    """Half a download, or what stands for the file in a repository."""
    split.with_name("split.onnx.data").write_bytes(content)
    message = refusal(split)
    assert f"that file has {len(content):,} bytes instead of" in message
    assert said in message


def test_what_may_be_onnx_is_left_to_onnxruntime(tmp_path: Path) -> None:
    """It says what it does not like in the network."""
    graph = onnx.helper.make_graph([onnx.helper.make_node("NoSuch", ["x"], ["y"])], "g", [], [])
    path = tmp_path / "model.pt"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    assert what_it_is(path) is None
    assert "onnxruntime cannot load" in refusal(path)
    path = tmp_path / "garbage.onnx"
    path.write_bytes(RANDOM)
    assert "as an ONNX model" in refusal(path)


@pytest.mark.parametrize(("ir", "opset"), [(99, 17), (8, 99)])
def test_a_file_from_the_future(tmp_path: Path, ir: int, opset: int) -> None:
    """The version that is installed, and the two ways out."""
    model = onnx.load(default_model.PATH)
    model.ir_version, model.opset_import[0].version = ir, opset
    onnx.save(model, tmp_path / "new.onnx")
    message = refusal(tmp_path / "new.onnx")
    assert f"is newer than the installed onnxruntime {onnxruntime.__version__}; install a newer one" in message
    assert "99" in message


def test_a_folder(tmp_path: Path) -> None:
    """With a model in it, with another kind of model, with neither."""
    assert f"{tmp_path} is a folder, without an ONNX file in it" in refusal(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    assert "is the folder of a TensorFlow SavedModel" in refusal(tmp_path)
    (tmp_path / "osnet.onnx").touch()
    assert "is a folder; give one of the models in it: osnet.onnx" in refusal(tmp_path)


def test_no_file(tmp_path: Path) -> None:
    """A name that is nearly right, a dead link, a name that no file can have."""
    (tmp_path / "osnet_x0_25.onnx").touch()
    assert refusal(tmp_path / "osnet_x025.onnx").endswith("; did you mean osnet_x0_25.onnx?")
    assert refusal(tmp_path / "osnet_x0_25").endswith("; did you mean osnet_x0_25.onnx?")
    assert refusal(tmp_path / "other.onnx") == f"there is no model file at {tmp_path}/other.onnx"
    assert refusal(tmp_path / "none/other.onnx") == f"there is no model file at {tmp_path}/none/other.onnx"
    (tmp_path / "link.onnx").symlink_to("blobs/4711")
    assert refusal(tmp_path / "link.onnx") == f"{tmp_path}/link.onnx is a link to blobs/4711, which is not there"
    assert "cannot be read: File name too long" in refusal(tmp_path / ("x" * 300))


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: b"\x08\x07" + tail))
def test_any_bytes_get_an_answer(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever it is: one line or nothing, and no other error."""
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    said = what_it_is(path)
    assert said is None or (said.startswith("is ") and "\n" not in said)
