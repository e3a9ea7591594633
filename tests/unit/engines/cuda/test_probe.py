"""Everything that a machine may lack is told apart, and nothing crashes where there is no driver."""

from __future__ import annotations

import ctypes
import inspect
import sys
from typing import Any

import pytest

from reidstream_engines.cuda.driver_api import DriverApi, installed_driver_api
from reidstream_engines.cuda.probe import LIBRARY, CudaDevice, Probed, probe
from reidstream_engines.cuda.status import LOST
from reidstream_engines.errors import DeviceUnavailable, EngineFault, Missing
from tests.unit.engines.cuda.fake_driver import FakeDriver


def look(driver: FakeDriver) -> Probed:
    return probe(load_library=lambda _: None, open_api=lambda: driver)


def what_is_missing(driver: FakeDriver) -> DeviceUnavailable:
    with pytest.raises(DeviceUnavailable) as caught:
        look(driver)
    return caught.value


def test_devices_are_described() -> None:
    """All of them, in the driver's order."""
    found = look(FakeDriver(devices=2))
    assert found.devices[1] == CudaDevice(
        index=1,
        name="Fake 1",
        uuid="GPU-01010101-0101-0101-0101-010101010101",
        architecture="sm_90",
        total_memory=1 << 30,
        driver_version="13.0",
    )
    assert found.device(0).name == "Fake 0"


@pytest.mark.parametrize("index", [2, -1])
def test_a_number_that_no_device_has(index: int) -> None:
    """The message lists those that there are."""
    with pytest.raises(DeviceUnavailable, match=r"has 0 \(Fake 0\), 1 \(Fake 1\)") as caught:
        look(FakeDriver(devices=2)).device(index)
    assert caught.value.missing is Missing.THAT_DEVICE


def test_no_driver() -> None:
    """The library is not there: nothing else of CUDA is touched."""

    def missing(name: str) -> object:
        raise OSError(f"{name}: cannot open shared object file")

    def untouched() -> DriverApi:
        raise AssertionError

    with pytest.raises(DeviceUnavailable, match="no NVIDIA driver") as caught:
        probe(load_library=missing, open_api=untouched)
    assert caught.value.missing is Missing.DRIVER


def test_this_machine_is_probed_for_real() -> None:
    """Whatever it has: devices, or an error that names what it lacks."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        with pytest.raises(DeviceUnavailable, match=LIBRARY) as caught:
            probe()
        assert caught.value.missing is Missing.DRIVER
    else:
        assert probe().devices


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the line that installs it."""
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(DeviceUnavailable, match="pip install 'reidstream-engines") as caught:
        probe(load_library=lambda _: None)
    assert caught.value.missing is Missing.PACKAGE


def test_the_package_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package looks for the library in its own way, and raises what is its own."""
    driver = FakeDriver()

    def not_found(_: int) -> tuple[Any]:
        raise RuntimeError("libcuda not found")

    monkeypatch.setattr(driver, "cuInit", not_found)
    assert what_is_missing(driver).missing is Missing.DRIVER


@pytest.mark.parametrize(
    ("status", "missing", "message"),
    [
        ("NO_DEVICE", Missing.DEVICE, "CUDA_VISIBLE_DEVICES"),
        ("STUB_LIBRARY", Missing.DRIVER, "stub"),
        ("SYSTEM_DRIVER_MISMATCH", Missing.DRIVER, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
    ],
)
def test_a_driver_that_does_not_start(status: str, missing: Missing, message: str) -> None:
    """Each says why."""
    driver = FakeDriver()
    driver.fail("cuInit", status)
    error = what_is_missing(driver)
    assert error.missing is missing
    assert message in str(error)


def test_an_old_driver() -> None:
    """What it knows, and what is needed."""
    driver = FakeDriver()
    driver.version = 12080
    error = what_is_missing(driver)
    assert error.missing is Missing.NEWER_DRIVER
    assert "12.8; 13.0 is needed" in str(error)


def test_a_driver_that_counts_no_device() -> None:
    """It may start all the same."""
    assert what_is_missing(FakeDriver(devices=0)).missing is Missing.DEVICE


@pytest.mark.needs("nvrtc")
def test_the_calls_are_the_packages() -> None:
    """Same names, as many parameters, in the same order; and the fake's are the same."""
    real = installed_driver_api()
    for name, function in vars(DriverApi).items():
        if not name.startswith("cu"):
            continue
        wanted = [p for p in inspect.signature(function).parameters if p != "self"]
        fake = [p for p in inspect.signature(getattr(FakeDriver, name)).parameters if p != "self"]
        head = (getattr(real, name).__doc__ or "").split("\n", 1)[0]
        has = [part.split(":")[0].replace("*", " ").split() for part in head[head.index("(") + 1 : -1].split(",")]
        assert [words[-1] for words in has if words] == wanted == fake, name


@pytest.mark.needs("nvrtc")
def test_the_codes_are_the_packages() -> None:
    """A code that the table of fatal ones misspells would be taken for a passing fault."""
    real = {member.name for member in installed_driver_api().CUresult}
    assert real >= LOST
    assert {member.name for member in FakeDriver.CUresult} <= real


def test_a_bad_status_later_is_an_error() -> None:
    """Not a device with a made-up architecture."""
    driver = FakeDriver()
    driver.cuDeviceTotalMem = lambda _: (driver.CUresult["CUDA_ERROR_INVALID_VALUE"], 0)  # type: ignore[method-assign, assignment]
    with pytest.raises(EngineFault, match="cuDeviceTotalMem: CUDA_ERROR_INVALID_VALUE"):
        look(driver)
