"""`reidstream-server` as a process: Ctrl-C while libraries are loaded, and `| head` for help.

Trap: this module imports nothing heavy; see `reidstream_engines.process`.
"""

from __future__ import annotations

from reidstream_engines.process import run


def main() -> int:
    """Run the server; returns its exit code, which `cli` explains."""
    return run("reidstream_server.cli")
