"""`reidstream-client`: the command line.

    command         the four commands and their exit statuses
    arguments       flags and help
    sources/        where frames come from: folders, sequences, videos, and their boxes
    streaming       a source through a session
    writers/        what a run leaves behind: .npz and JSON lines
    summary, tables what people read
    interrupts      Ctrl-C

Uses the client as anybody would; nothing outside this room imports it.
"""

from .command import main

__all__ = ["main"]
