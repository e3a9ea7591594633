"""Whether what the HTTP port needs is installed. Trap: nothing here imports it, since most servers are without."""

from __future__ import annotations

from importlib.util import find_spec

from reidstream_server.errors import StartupError

INSTALL = "pip install 'reidstream-server[http]'"
_NEEDED = ("httptools", "orjson")


def check_http() -> None:
    """Raises StartupError, with what to install."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise StartupError(f"http_port: {', '.join(missing)} cannot be imported; {INSTALL}, or leave http_port out")
