"""`reidstream-client`: the command line.

    process         how the process begins and ends: Ctrl-C while it loads, `| head`
    command         which command runs; `embed`, `ping` and `info`
    running         `stream`
    top/            the sessions of a server, live
    evaluating/     `evaluate` and `calibrate`: how good a model is, and a threshold for its space
    doctor/         what is wrong between this machine and a server, and what to change
    arguments       flags and help; `stream_flags` those of `stream`, `ranges` numbers, and `parser` how a wrong one is
                    told
    reaching        the client that a command line describes
    ending          what an error becomes: one line, and a status
    status          exit statuses
    sources/        where frames come from: folders, sequences, videos, and their boxes
    streaming       a source through a session
    writers/        what a run leaves behind: .npz and JSON lines
    summary, tables what people read
    interrupts      Ctrl-C

Uses the client as anybody would; nothing outside this room imports it.
"""

from .process import main

__all__ = ["main"]
