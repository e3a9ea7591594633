"""The model that is served when none is named: a person descriptor that was designed, not learned.

Why it is in the package: the program does something meaningful without a download. MODEL_CARD.md says what it can and
cannot do. `build.py` makes it, and is the only file here that needs the `onnx` package. Trap: every change of that file
may change vectors, so a test makes the model again and compares it with the committed `descriptor.onnx`.
"""

from __future__ import annotations

from pathlib import Path

NAME = "stripes"
"""The name it is served under."""

PATH = Path(__file__).with_name("descriptor.onnx")
"""The model file; its spec is in its metadata."""
