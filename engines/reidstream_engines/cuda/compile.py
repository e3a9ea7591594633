"""Compiles the crop kernel for one architecture with NVRTC, into a cubin that is kept on disk.

Why cubins and not PTX: an older driver may refuse the PTX of a new NVRTC, but its cubins run on every driver of the
same CUDA major version. NVRTC needs neither a GPU nor a driver. A module has one resize and one output type: all of
them together would take seconds to compile.

Trap: contraction (`a * b + c` with one rounding) is off, because it changes pixels: positions, weights and normalised
values must be rounded where the CPU rounds them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from typing_extensions import assert_never

from reidstream_engines.errors import DeviceUnavailable, KernelError
from reidstream_engines.spec import Resize

from .kernel_params import OutputType

ENTRY = "crop"
"""The kernel's name in every cubin."""

SOURCE = Path(__file__).parent / "crop.cu"
HEADERS = tuple(SOURCE.with_name(name) for name in ("frame.cuh", "tile.cuh", "opencv.cuh", "pil.cuh"))

_DIGEST_BYTES = 32
_ARCHITECTURE = re.compile(r"sm_\d{2,3}[af]?")
_OPTIONS = ("--std=c++17", "--fmad=false")
_OUTPUTS = {OutputType.FP32: "float", OutputType.FP16: "unsigned short"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cubin:
    """`image`: for cuModuleLoadData. `key`: a digest of everything that the image depends on. `compiled`: False if it
    was read from the cache.
    """

    image: bytes
    key: str
    compiled: bool


def crop_cubin(resize: Resize, output: OutputType, *, architecture: str, cache: Path | None) -> Cubin:
    """The kernel for an architecture such as `sm_90`. `cache`: a folder, made if it is missing; None keeps nothing.

    Takes about a second if it is not cached. Any thread or process: a file is either complete or does not exist. Raises
    DeviceUnavailable without NVRTC, and KernelError if the kernel does not compile (with the compiler's log), or if the
    cache cannot be written.
    """
    if not _ARCHITECTURE.fullmatch(architecture):
        raise KernelError(f"{architecture!r} is not the name of a GPU architecture; such a name looks like sm_90")
    nvrtc = _nvrtc()
    macros = (f"-DCROP_RESIZE={_resize_type(resize)}", f"-DCROP_OUT={_OUTPUTS[output]}")
    options = (f"--gpu-architecture={architecture}", *_OPTIONS, *macros)
    sources = {path.name: path.read_bytes() for path in (SOURCE, *HEADERS)}
    key = _key(sources, options, _version(nvrtc))
    if cache is None:
        return Cubin(image=_compile(nvrtc, sources, options), key=key, compiled=True)
    path = cache / f"crop-{architecture}-{key[:16]}.cubin"
    image = _read(path)
    if image is not None:
        return Cubin(image=image, key=key, compiled=False)
    image = _compile(nvrtc, sources, options)
    _write(path, image)
    return Cubin(image=image, key=key, compiled=True)


def _resize_type(resize: Resize) -> str:
    match resize:
        case Resize.OPENCV_BILINEAR:
            return "OpenCv<2>"
        case Resize.OPENCV_BICUBIC:
            return "OpenCv<4>"
        case Resize.PIL_BILINEAR:
            return "Pil<false>"
        case Resize.PIL_BICUBIC:
            return "Pil<true>"
        case _:
            assert_never(resize)


def _nvrtc() -> ModuleType:
    try:
        from cuda.bindings import nvrtc  # noqa: PLC0415 - an optional extra, for machines with a GPU

        _version(nvrtc)  # the library itself is loaded by the first call
    except (ImportError, RuntimeError) as error:
        raise DeviceUnavailable(
            f"NVRTC, which compiles the crop kernel, cannot be loaded ({error}): pip install 'reidstream-engines[gpu]'"
        ) from error
    module: ModuleType = nvrtc
    return module


def _version(nvrtc: ModuleType) -> tuple[int, int]:
    status, major, minor = nvrtc.nvrtcVersion()
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"nvrtcVersion: {status.name}")
    return major, minor


def _key(sources: dict[str, bytes], options: tuple[str, ...], version: tuple[int, int]) -> str:
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in sources.items()}
    canonical = json.dumps([digests, options, version], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _compile(nvrtc: ModuleType, sources: dict[str, bytes], options: tuple[str, ...]) -> bytes:
    headers = [name for name in sources if name != SOURCE.name]
    status, program = nvrtc.nvrtcCreateProgram(
        sources[SOURCE.name],
        SOURCE.name.encode(),
        len(headers),
        [sources[name] for name in headers],
        [name.encode() for name in headers],
    )
    _check(nvrtc, status, "nvrtcCreateProgram")
    try:
        encoded = [option.encode() for option in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise KernelError(f"the crop kernel does not compile with {' '.join(options)}:\n{_log(nvrtc, program)}")
        status, size = nvrtc.nvrtcGetCUBINSize(program)
        _check(nvrtc, status, "nvrtcGetCUBINSize")
        image = bytearray(size)
        (status,) = nvrtc.nvrtcGetCUBIN(program, image)
        _check(nvrtc, status, "nvrtcGetCUBIN")
        return bytes(image)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _log(nvrtc: ModuleType, program: object) -> str:
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    text = bytearray(size)
    nvrtc.nvrtcGetProgramLog(program, text)
    return text.decode(errors="replace").rstrip("\0").strip()


def _check(nvrtc: ModuleType, status: object, call: str) -> None:
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise KernelError(f"{call} failed: {status}")


def _read(path: Path) -> bytes | None:
    """The image in a file that begins with the image's digest; None if the file is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, image = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return image if image and hashlib.sha256(image).digest() == digest else None


def _write(path: Path, image: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(image).digest() + image)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise KernelError(f"the compiled crop kernel cannot be written to {path.parent}: {error}") from error
