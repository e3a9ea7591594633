"""One sanitised build of the kernel, and one emulated driver, for all tests here."""

from __future__ import annotations

import pytest

from emulation.emulator import SANITIZED, Emulator, build
from tests.emulation.emulated_cuda import EmulatedCuda, build_cuda


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    return build(tmp_path_factory.mktemp("kernel"), SANITIZED)


@pytest.fixture(scope="session")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> EmulatedCuda:
    return build_cuda(tmp_path_factory.mktemp("cuda"))
