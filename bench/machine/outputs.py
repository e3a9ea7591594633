"""The file that a benchmark writes: asked for before minutes of measuring."""

from __future__ import annotations

import argparse
from pathlib import Path


def output_file(text: str) -> Path:
    """The `type` of an option: a path that can be written; its folder is made."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        path.open("a").close()
        if new:
            path.unlink()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be written: {error.strerror}") from None
    return path
