"""One sanitised build of the kernel, and one emulated driver, for all tests and workers of a run."""

from __future__ import annotations

import pytest

from emulation.emulator import SANITIZED, Emulator, build
from tests.emulation.emulated_cuda import EmulatedCuda, build_cuda
from tests.support.built_once import built_once


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    return Emulator(built_once(tmp_path_factory, "sanitized-kernel", lambda folder: build(folder, SANITIZED)) / "crop")


@pytest.fixture(scope="session")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> EmulatedCuda:
    return EmulatedCuda(built_once(tmp_path_factory, "emulated-cuda", build_cuda))
