"""Progress bars on a terminal, and none elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm


@contextmanager
def bar(what: str, total: int, unit: str, *, quiet: bool) -> Iterator[Callable[[int], object]]:
    """Gives what is to be called with how many more are done."""
    shown: tqdm[NoReturn] = tqdm(
        total=total, desc=what, unit=unit, disable=quiet or not sys.stderr.isatty(), leave=False
    )
    try:
        yield shown.update
    finally:
        shown.close()
