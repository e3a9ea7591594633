"""`reidstream-server` as a process: Ctrl-C before the first line of the log, and a listing that nobody reads.

Trap: this module imports nothing heavy, and `cli` neither: see `reidstream_engines.process`.
"""

from __future__ import annotations

from reidstream_engines.process import run


def main() -> int:
    """Run the server; returns its exit code, which `cli` explains."""
    return run("reidstream_server.cli")
