"""Says what a file is that was given as a model and is none, and what to do next.

Why: "protobuf parsing failed" is true of a Git LFS pointer, of a log-in page and of a PyTorch checkpoint alike, and
each needs something else. Called only after onnxruntime has refused the file, so a good model is never judged here.

Trap: names lie. A pointer or a page has the name of the model that it stands for. So the content decides; the name is
asked only about kinds that have no mark of their own.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path

from .external_data import external_sizes
from .onnx_fields import fields, missing_bytes
from .parser import did_you_mean

_HEAD = 4096
_SHOWN = 60
_MIB = 1 << 20
_GRAPH = 7  # field of onnx.proto
_EXPORT = "export the network to ONNX with its own program (docs/models.md shows how)"
_ADOPT = "a TensorRT plan; adopt it on the machine that it was built on: reidstream-engines adopt FILE --profile NAME"
_OPENVINO = "an OpenVINO model; give the ONNX file that it was made from, which --runtime openvino can run"
_PYTORCH = f"a PyTorch file: weights or a module, not a network in ONNX; {_EXPORT}"
_TENSORFLOW = "to ONNX with tf2onnx (docs/models.md shows how)"

_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"ptrt", _ADOPT),
    (4, b"TFL3", f"a TensorFlow Lite model; convert it {_TENSORFLOW}"),
    (4, b"ORTM", "a model in onnxruntime's own format, for another version of it; give the ONNX file"),
    (0, b"\x89HDF\r\n\x1a\n", f"a Keras or HDF5 file; convert the network {_TENSORFLOW}"),
    (0, b"\x1f\x8b", "compressed with gzip; unpack it: gunzip or tar -xzf"),
    (0, b"\xfd7zXZ\0", "compressed with xz; unpack it: unxz or tar -xJf"),
    (0, b"BZh", "compressed with bzip2; unpack it: bunzip2 or tar -xjf"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it: unzstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (0, b"Rar!", "a rar archive; unpack it"),
    (257, b"ustar", "a tar archive; unpack it: tar -xf"),
    (0, b"GGUF", "a GGUF file of a language model; give a ReID network in ONNX"),
    (0, b"RKNN", "a Rockchip model; give the ONNX file that it was made from"),
    (0, b"\x93NUMPY", "a NumPy array, not a network; give the ONNX file"),
    (0, b"\xff\xd8\xff", "a JPEG picture; give the ONNX file"),
    (0, b"\x89PNG", "a PNG picture; give the ONNX file"),
    (0, b"%PDF", "a PDF document; give the ONNX file"),
)
"""Where a mark stands, the mark, and what the file is."""

_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".tar"), _PYTORCH),
    **dict.fromkeys((".engine", ".plan", ".trt"), _ADOPT),
    **dict.fromkeys((".pb", ".keras", ".h5"), f"a TensorFlow or Keras model; convert it {_TENSORFLOW}"),
    **dict.fromkeys((".pdmodel", ".pdiparams"), "a PaddlePaddle model; convert it to ONNX with paddle2onnx"),
    **dict.fromkeys((".mlmodel", ".mlpackage"), f"a Core ML model; {_EXPORT}"),
    **dict.fromkeys((".caffemodel", ".prototxt"), f"a Caffe model; {_EXPORT}"),
    **dict.fromkeys((".param", ".mnn", ".hef", ".uff", ".etlt"), f"a model for another inference library; {_EXPORT}"),
    ".tflite": f"a TensorFlow Lite model; convert it {_TENSORFLOW}",
    ".xml": _OPENVINO,
    ".bin": "a file of weights without a network; give the ONNX file",
    ".data": "a file of weights that belongs to an ONNX file beside it; give that file",
    ".onnx_data": "a file of weights that belongs to an ONNX file beside it; give that file",
}


def no_file(path: Path) -> str:
    """Why there is no file at `path`, for a message: a folder, a dead link, or a name that is nearly right."""
    if path.is_dir():
        inside = sorted(item.name for item in path.iterdir() if item.suffix == ".onnx")
        if inside:
            return f"{path} is a folder; give one of the models in it: {', '.join(inside[:5])}"
        if (path / "saved_model.pb").exists():
            return f"{path} is the folder of a TensorFlow SavedModel; convert it {_TENSORFLOW}"
        return f"{path} is a folder, without an ONNX file in it; give the path of a model file"
    if path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which is not there"
    return f"there is no model file at {path}{near_name(path)}"


def near_name(path: Path) -> str:
    """The end of a message about a file that is not there: an ONNX file beside it with nearly that name, or nothing."""
    try:
        return did_you_mean(path.name, [item.name for item in path.parent.glob("*.onnx")])
    except OSError:
        return ""


def what_it_is(path: Path) -> str | None:
    """What the file at `path` is, as the end of a sentence that begins with its path, with the next step.

    None if it may be an ONNX file; onnxruntime then knows better what is wrong. Raises OSError.
    """
    said = _content(path) or _plain_text(path)
    if said is None and not _is_onnx(path):
        said = _SUFFIXES.get(path.suffix.lower())
    return None if said is None else f"is {said}"


def not_a_plan(path: Path) -> str | None:
    """The same for a file that was given as a TensorRT plan; None if it may be one. Raises OSError."""
    said = _content(path)
    return None if said in (None, _ADOPT) else f"is {said}"


def _content(path: Path) -> str | None:
    return next(_by_content(path, _head(path)), None)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _by_content(path: Path, head: bytes) -> Iterator[str]:
    if not head:
        yield "empty (0 bytes): its download or its copy did not finish; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        yield f"a Git LFS pointer, not the model{_pointed_at(head)}; run git lfs pull in its repository, then try again"
    yield from (said for at, mark, said in _MARKS if head[at : at + len(mark)] == mark)
    if head.startswith(b"PK\x03\x04"):
        yield _archive(path)
    if re.match(rb"\x80[\x02-\x05]", head):
        yield _PYTORCH
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < path.stat().st_size:
        yield f"a safetensors file: weights without a network; {_EXPORT}"
    if head[4:6] == b'{"':  # what ultralytics writes before a plan
        yield _ADOPT
    yield from _incomplete(path, head)
    text = _text(head).lower()
    if "<html" in text or text.startswith("<!doctype"):
        yield "an HTML page, perhaps of a log-in or an error, not the model; download the file itself, not its web page"
    if text.startswith(("<?xml", "<net")):
        yield _OPENVINO if "<net" in text else f"an XML text that begins {_shown(text)}; download the model again"


def _plain_text(path: Path) -> str | None:
    text = _text(_head(path))
    letters = text[:-1]  # the last one may be half a letter
    if not text or "\ufffd" in letters or not all(letter.isprintable() or letter.isspace() for letter in letters):
        return None
    return f"a text that begins {_shown(text)}, not a model; look at it, and give the ONNX file"


def _text(head: bytes) -> str:
    return head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")


def _incomplete(path: Path, head: bytes) -> Iterator[str]:
    """An ONNX file that lacks a part of itself, or of the files with its weights."""
    if head[:1] != b"\x08":  # the first field of every exporter
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        missing = missing_bytes(data)
        if missing:
            yield (
                f"an ONNX file that ends too early: it has {len(data):,} bytes, and at least {missing:,} are missing; "
                "its download or its copy did not finish; fetch it again"
            )
            return
    for other, size in external_sizes(path).items():
        wanted = f"an ONNX file whose weights are in {other.name}"
        if not other.is_file():
            yield f"{wanted}, which is not beside it; copy or download both files, and rename neither"
        elif other.stat().st_size < size:
            said = _content(other) or "a part of it; fetch it again"
            yield f"{wanted}; that file has {other.stat().st_size:,} bytes instead of {size:,}, and is {said}"


def _is_onnx(path: Path) -> bool:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return any(field.number == _GRAPH and field.end > field.start for field in fields(data, 0, len(data)))


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a zip archive, and a damaged one; fetch it again"
    inside = [name for name in names if name.endswith(".onnx")]
    if inside:
        return f"a zip archive with {inside[0]} in it; unpack it"
    if any(name.endswith("data.pkl") for name in names):
        return _PYTORCH
    if any(name.endswith((".weights.h5", "keras_metadata.pb")) for name in names):
        return f"a Keras model; convert it {_TENSORFLOW}"
    if any(name.endswith(".npy") for name in names):
        return "a file of NumPy arrays, not a network; give the ONNX file"
    return f"a zip archive of {len(names)} files, none of them .onnx; give the ONNX file"


def _pointed_at(head: bytes) -> str:
    """The size of the real file."""
    size = re.search(rb"^size (\d{1,15})$", head, re.MULTILINE)
    return f" itself, which has {int(size[1]) / _MIB:.1f} MiB" if size else ""


def _shown(text: str) -> str:
    return repr(text.splitlines()[0][:_SHOWN])
