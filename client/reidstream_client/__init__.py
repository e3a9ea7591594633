"""The edge client of reidstream: numpy in, numpy out.

`ReidClient` for programs without asyncio, `AsyncReidClient` for those with it; `embed` for one frame, `stream` for a
camera. `reidstream_client.testing` has a server in memory, for your tests. `public.py` lists everything else that is
public; all of it is imported from here.

Why not at once: Python runs this module before any other of the package. What is public needs gRPC and NumPy, which
take half a second to load, and the command must take care of Ctrl-C before that. Trap: `from . import public` would ask
`__getattr__` for it, and so on without end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .public import *  # noqa: F403 - a type checker reads the names there
    from .public import __all__ as __all__
else:

    def __getattr__(name: str) -> object:
        public = import_module(f"{__name__}.public")
        if name in globals():  # a module of the package, which has just been imported
            return globals()[name]
        if name != "__all__" and name not in public.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(public, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *import_module(f"{__name__}.public").__all__})
