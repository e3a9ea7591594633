"""The part of `nvidia.nvimgcodec` that is used here.

Why a Protocol: the package is optional and has no types, and its use of a device's memory is tested with a fake that
has the same functions. Traps: importing it prints a line for each of NVIDIA's libraries that is not installed, even if
only other formats need it. And its messages about single pictures go to stderr, which a hostile client could fill; an
environment variable is the only way to silence it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol, cast

from reidstream_engines.errors import PackageMissing

DECODE_EXTRA = "pip install 'reidstream-engines[gpu-decode]'"

_VERBOSITY = "PYNVIMGCODEC_VERBOSITY"


class CodeStream(Protocol):
    """A compressed picture. Its properties raise RuntimeError if it has no readable header."""

    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def codec_name(self) -> str: ...  # noqa: D102
    def get_sub_code_stream(self, *, region: object) -> CodeStream: ...  # noqa: D102


class CodecImage(Protocol):
    """Pixels, with an array interface: of the device or of this machine."""


class CodecDecoder(Protocol):
    """One thread at a time."""

    def decode(
        self, srcs: Sequence[CodeStream], *, images: Sequence[CodecImage], params: object, cuda_stream: int
    ) -> Sequence[CodecImage | None]:
        """None for each picture that cannot be decoded. The others lie in `images`' memory, if it is large enough."""
        ...

    def __exit__(self, *raised: object) -> object: ...


class Nvimgcodec(Protocol):
    """The module. `as_image` takes any object with an array interface."""

    NVIMGCODEC_DEVICE_CPU_ONLY: int
    Backend: Any
    BackendKind: Any
    ColorSpec: Any
    CodeStream: Any
    DecodeParams: Any
    Decoder: Any
    Region: Any
    SampleFormat: Any

    def as_image(self, source: object) -> CodecImage: ...  # noqa: D102


def installed_nvimgcodec() -> Nvimgcodec:
    """The real module. Needs no GPU. Raises PackageMissing."""
    said = os.environ.get(_VERBOSITY)
    os.environ.setdefault(_VERBOSITY, "0")  # read once, when it is imported
    try:
        from nvidia import nvimgcodec  # noqa: PLC0415 - optional
    except ImportError as error:
        raise PackageMissing(
            f"decoding on the GPU needs nvidia-nvimgcodec-cu13, which is not installed; install it: {DECODE_EXTRA}"
        ) from error
    finally:
        if said is None:
            del os.environ[_VERBOSITY]
    module: ModuleType = nvimgcodec
    return cast("Nvimgcodec", module)
