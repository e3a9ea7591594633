"""The real NVRTC makes cubins of the kernel, with no GPU, and the cache keeps them."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reidstream_engines.cuda import compile as compiling
from reidstream_engines.cuda.compile import HEADERS, SOURCE, crop_cubin
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.errors import DeviceUnavailable, KernelError
from reidstream_engines.spec import Resize

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
# A compilation takes seconds: every architecture with the shortest source, every resize on the oldest and the newest.
PAIRS = [
    (architecture, resize)
    for architecture in ARCHITECTURES
    for resize in Resize
    if os.environ.get("EVERY_CUBIN")
    or resize is Resize.OPENCV_BILINEAR
    or architecture in (ARCHITECTURES[0], ARCHITECTURES[-1])
]

nvrtc = pytest.mark.needs("nvrtc")


@pytest.fixture
def small_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kernel in the place of the real one, which takes a second: what a cache does is the same. Its folder."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / SOURCE.name).write_text('extern "C" __global__ void crop() {}\n')
    for path in HEADERS:
        (folder / path.name).write_text("")
    monkeypatch.setattr(compiling, "SOURCE", folder / SOURCE.name)
    monkeypatch.setattr(compiling, "HEADERS", tuple(folder / path.name for path in HEADERS))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def cubin(cache: Path | None, architecture: str = "sm_90") -> compiling.Cubin:
    return crop_cubin(Resize.OPENCV_BILINEAR, OutputType.FP16, architecture=architecture, cache=cache)


@nvrtc
@pytest.mark.parametrize(("architecture", "resize"), PAIRS)
def test_a_cubin_for_every_architecture(architecture: str, resize: Resize) -> None:
    """An ELF file with the entry, in the output type that takes the longer path. All 28: `make cubins`."""
    found = crop_cubin(resize, OutputType.FP16, architecture=architecture, cache=None)
    assert found.image.startswith(b"\x7fELF")
    assert b".text.crop\0" in found.image


@nvrtc
@pytest.mark.usefixtures("small_kernel")
def test_the_cache_is_read_and_its_key_has_everything_in_it(cache: Path) -> None:
    first, again = cubin(cache), cubin(cache)
    assert first.compiled
    assert not again.compiled
    assert (again.image, again.key) == (first.image, first.key)
    floats = crop_cubin(Resize.OPENCV_BILINEAR, OutputType.FP32, architecture="sm_90", cache=cache)
    other = crop_cubin(Resize.PIL_BICUBIC, OutputType.FP16, architecture="sm_90", cache=cache)
    assert len({first.key, floats.key, other.key, cubin(cache, "sm_80").key}) == 4
    assert len(list(cache.iterdir())) == 4


@nvrtc
def test_another_source_is_another_key(small_kernel: Path) -> None:
    keys = {cubin(None).key}
    for path in (SOURCE, *HEADERS):
        with (small_kernel / path.name).open("a") as file:
            file.write("// other\n")
        keys.add(cubin(None).key)
    assert len(keys) == 2 + len(HEADERS)


@nvrtc
@pytest.mark.usefixtures("small_kernel")
@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 5000])
def test_a_damaged_file_is_made_again(cache: Path, damage: bytes) -> None:
    good = cubin(cache)
    (path,) = cache.iterdir()
    path.write_bytes(damage)
    mended = cubin(cache)
    assert mended.compiled
    assert mended.image == good.image
    assert not cubin(cache).compiled


@nvrtc
@pytest.mark.usefixtures("small_kernel")
def test_many_at_once_leave_one_whole_file(cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        images = {found.image for found in pool.map(lambda _: cubin(cache), range(4))}
    assert len(images) == 1
    assert len(list(cache.iterdir())) == 1
    assert not cubin(cache).compiled


@nvrtc
def test_a_fault_in_the_source_shows_the_compilers_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / SOURCE.name
    broken.write_text(SOURCE.read_text().replace("const int BLOCK = 128;", "const int BLOCK = missing_name;"))
    monkeypatch.setattr(compiling, "SOURCE", broken)
    with pytest.raises(KernelError, match="missing_name"):
        cubin(None)


@nvrtc
def test_an_architecture_that_nvrtc_has_not_is_refused() -> None:
    with pytest.raises(KernelError, match="gpu-architecture"):
        cubin(None, "sm_35")


@pytest.mark.parametrize("name", ["", "90", "sm_9", "compute_90", "sm_90 --dlink", "sm_90/../x"])
def test_what_is_no_architecture_is_refused(name: str) -> None:
    """Before it becomes part of an option or of a path."""
    with pytest.raises(KernelError, match="looks like sm_90"):
        cubin(None, name)


@nvrtc
@pytest.mark.usefixtures("small_kernel")
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(KernelError, match="cannot be written to"):
        cubin(blocked / "cache")


def test_without_nvrtc_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(DeviceUnavailable, match=r"pip install 'reidstream-engines\[gpu\]'"):
        cubin(None)


def test_the_source_has_no_barriers() -> None:
    """Nor anything else that a loop over threads could not stand for."""
    text = "".join(path.read_text() for path in (SOURCE, *HEADERS))
    for word in ("__sync", "__shared__", "__shfl", "atomicAdd", "bar.sync"):
        assert word not in text
