"""What tests may need that a machine may lack, in one table.

A test says `@pytest.mark.needs("prometheus")`. Where that is missing the test is skipped, and the run ends with one
line per missing thing that says how to get it. With REQUIRE_ALL=1 (as CI runs) a missing thing is a failure, and so is
any other skip.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.alertmanager import alertmanager
from tests.support.clock import Clock
from tests.support.held_lock import can_hold
from tests.support.patience import HANG_S, forgive_late_events, patient_clients
from tests.support.places import place_of

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _network_address() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return False
        return not str(probe.getsockname()[0]).startswith("127.")


def _turbojpeg() -> bool:
    from reidstream_engines.decoding.turbojpeg import find_turbojpeg  # noqa: PLC0415 - only where a test asks for it

    return find_turbojpeg() is not None


def _package(name: str) -> Callable[[], bool]:
    def present() -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:  # a parent of it
            return False

    return present


NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "alertmanager": (lambda: alertmanager() is not None, "apt-get install prometheus-alertmanager"),
    "curl": (_program("curl"), "apt-get install curl"),
    "shared-data": (SHARED_DATA.is_dir, f"real models and frames in {SHARED_DATA} (licences forbid shipping them)"),
    "openvino": (_package("openvino"), "make .venv/.dev (the extra openvino of engines)"),
    "gevent": (_package("gevent"), "make .venv/.dev"),
    "prometheus": (_program("prometheus"), "apt-get install prometheus"),
    "held-lock": (can_hold, "root on x86-64, or sysctl vm.unprivileged_userfaultfd=1"),
    "openssl": (_program("openssl"), "apt-get install openssl"),
    "network-address": (_network_address, "a network interface with an IPv4 address and a default route"),
    "jq": (_program("jq"), "apt-get install jq"),
    "g++": (_program("g++"), "apt-get install g++"),
    "nvimgcodec": (_package("nvidia.nvimgcodec"), "make .venv/.dev (the extra gpu-decode of engines)"),
    "nvrtc": (_package("cuda.bindings.nvrtc"), "pip install 'reidstream-engines[gpu]'"),
    "promtool": (_program("promtool"), "apt-get install prometheus"),
    "tensorrt-rtx": (_package("tensorrt_rtx"), "make .venv/.dev (its wheels are for Linux on x86-64)"),
    "turbojpeg": (_turbojpeg, "make (engines[region]; a Python up to 3.13), or a system's libjpeg-turbo 3"),
    "oldest-client": ((ROOT / ".venv-oldest/bin/python").exists, "a CPython 3.10 on the PATH, then make environments"),
    "oldest-engines": (
        (ROOT / ".venv-oldest-engines/bin/python").exists,
        "a CPython 3.10 on the PATH, then make environments",
    ),
    "newest-server": (
        (ROOT / ".venv-newest-server/bin/python").exists,
        "a CPython 3.13 on the PATH, then make environments",
    ),
    "triton": ((ROOT / ".venv-triton/bin/python").exists, "make .venv-triton/.client"),
    "newest-client": ((ROOT / ".venv-newest/bin/python").exists, "make environments"),
}
REQUIRE_ALL = os.environ.get("REQUIRE_ALL", "") not in ("", "0")

_skipped: Counter[str] = Counter()  # reason -> tests; filled from reports, which reach the process that sums up


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): what the test needs from the machine (tests/conftest.py)")
    # Before tests are imported: their own settings are made of these. A slow machine is no finding.
    hypothesis.settings.register_profile(
        "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("patient")
    forgive_late_events()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a script's "&" starts it; programs that tests start
        signal.signal(signal.SIGINT, signal.default_int_handler)  # would inherit that, and hear of no interrupt


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place_of(item.nodeid))


def pytest_collection_finish() -> None:
    """Thousands of tests and their modules stay until the end: no collection of garbage need look at them again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from tests.support.longest_first import LongestFirst  # noqa: PLC0415 - xdist is not everywhere

    config.option.loadscopereorder = False
    return LongestFirst(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            present, remedy = NEEDS[name]
            if not present():
                if REQUIRE_ALL:
                    pytest.fail(f"needs {name}: {remedy}", pytrace=False)
                pytest.skip(f"needs {name}: {remedy}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _skipped[reason.removeprefix("Skipped: ")] += 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that hangs ends the run: those that hang after it would stand still for as long again, each."""
    report = yield
    if call.excinfo is not None and call.duration >= HANG_S:
        item.session.shouldfail = f"{item.nodeid} hung for {call.duration:.0f} s"
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if REQUIRE_ALL and _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason, count in sorted(_skipped.items()):
        terminalreporter.write_line(f"{count} tests skipped: {reason}", yellow=True)
    if REQUIRE_ALL and _skipped:
        terminalreporter.write_line("REQUIRE_ALL: skipped tests count as failures", red=True)


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    """A client of the product waits as long as it takes, unless its test says otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patient_clients(patch)
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of clients and event loops, which the test turns on."""
    return Clock(monkeypatch)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models, frames and golden vectors; for tests marked needs("shared-data")."""
    return SHARED_DATA
