"""One sanitised build of the kernel for all tests here."""

from __future__ import annotations

import pytest

from tests.emulation.emulator import SANITIZED, Emulator, build


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    return build(tmp_path_factory.mktemp("kernel"), SANITIZED)
