"""What serves networks imports on Python 3.10: older TensorRT has no newer one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[3] / ".venv-oldest-engines/bin/python"
PROGRAM = """
import importlib, pkgutil, sys
import reidstream_engines
names = [module.name for module in pkgutil.walk_packages(reidstream_engines.__path__, "reidstream_engines.")]
for name in names:
    if ".default_model." not in name:  # what drew the default model is not needed to serve it
        importlib.import_module(name)
print(sys.version_info[:2], len(names))
"""


@pytest.mark.needs("oldest-engines")
def test_every_module_imports_on_python_3_10() -> None:
    """With none of the extras."""
    done = subprocess.run([PYTHON, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version, count = done.stdout.rsplit(maxsplit=1)
    assert version == "(3, 10)"
    assert int(count) > 60
