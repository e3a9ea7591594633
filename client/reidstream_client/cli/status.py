"""Exit statuses; `--help` explains them to people.

Trap: scripts depend on them, so no number ever gets another meaning.
"""

from enum import IntEnum


class Status(IntEnum):
    """How a command ended; 0 is a success."""

    ENDED_EARLY = 1
    WRONG = 1  # of doctor, which has no run that could end early
    USAGE = 2
    NO_SERVER = 3
    REFUSED = 4
    NOTHING = 5
    INTERRUPTED = 130
    NOBODY_READS = 141
    """What a shell shows for SIGPIPE: whoever read the output has gone, such as `| head`."""
