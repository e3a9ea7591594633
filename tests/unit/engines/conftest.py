"""For all engine tests: one build of the crop kernel as a library, and examples of hypothesis without a deadline."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import settings

from tests.unit.engines.cuda.fake_driver import build_kernel

settings.register_profile("engines", deadline=None)  # a slow machine is no fault
settings.load_profile("engines")


@pytest.fixture(scope="session")
def kernel_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_kernel(tmp_path_factory.mktemp("kernel"))
