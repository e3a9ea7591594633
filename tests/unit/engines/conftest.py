"""One build of the crop kernel as a library, for all that run it on a fake device."""

from __future__ import annotations

import ctypes

import pytest

from tests.unit.engines.cuda.fake_driver import build_kernel


@pytest.fixture(scope="session")
def kernel_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_kernel(tmp_path_factory.mktemp("kernel"))
