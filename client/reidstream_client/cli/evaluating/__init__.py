"""`reidstream-client evaluate` and `calibrate`.

    flags        their flags and help
    opening      the data set that a command line names
    vectors      the vectors of its pictures: from files, a server, or a server of its own
    evaluate     figures, reports, and two runs compared
    calibrate    a threshold for a space
    grouping     a flat set, written as a folder for each identity
    progress     bars on a terminal

Trap: what is wrong with files is found before a server is asked, and what is wrong with a server before the pictures
are sent.
"""

from .calibrate import calibrate
from .evaluate import evaluate

__all__ = ["calibrate", "evaluate"]
