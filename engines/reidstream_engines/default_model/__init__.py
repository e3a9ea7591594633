"""The model that is served when none is named: a person descriptor that was designed, not learned.

Why it is in the package: the program does something meaningful with no download. What it can and cannot do is in
MODEL_CARD.md; how it is made is `build.py`, the only file here that needs the `onnx` package. Trap: its vectors move
with every change of that file, so the committed `descriptor.onnx` is made anew and compared by a test.
"""

from __future__ import annotations

from pathlib import Path

NAME = "stripes"
"""The name it is served under."""

PATH = Path(__file__).with_name("descriptor.onnx")
"""The model file; its spec is in its metadata."""
