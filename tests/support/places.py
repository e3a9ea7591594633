"""In which order tests begin, and which of them stay together on one worker.

Begun last, a module that takes long would be all that one worker does at the end, with nothing for the others.
"""

from __future__ import annotations

# Modules that take longest, longest first: begun last, one of them would be all that one worker does at the end.
LONGEST = (
    "tests/emulation/test_libcuda.py",
    "tests/emulation/test_mutants.py",
    "tests/emulation/test_served.py",
    "tests/golden/test_wire_golden.py",
    "tests/chaos/test_alerts.py",
    "tests/golden/test_device_golden.py",
    "tests/simulation/test_mutants.py",
    "tests/unit/engines/cuda/test_compile.py",
    "tests/unit/bench/gpu/test_command.py",
    "tests/golden/test_backends_golden.py",
    "tests/integration/test_newest_python.py",
    "tests/unit/bench/serving/test_smoke.py",
    "tests/integration/test_resume.py",
    "tests/integration/test_soak.py",
    "tests/simulation/test_seeds.py",
    "tests/integration/test_dashboards.py",
)
# Of these each test is given to whichever worker is free: what their tests share is built once for all workers.
APART = LONGEST[:3]


def place_of(nodeid: str) -> int:
    """A test's place in the order; those of equal places stay as they were collected."""
    module = _module(nodeid)
    return LONGEST.index(module) if module in LONGEST else len(LONGEST)


def unit_of(nodeid: str) -> str:
    """What one worker does at a stretch: a module, whose fixtures are made once, or a test."""
    module = _module(nodeid)
    return nodeid if module in APART else module


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]
