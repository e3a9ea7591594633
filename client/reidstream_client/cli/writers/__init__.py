"""What a run leaves behind: arrays in an .npz file, and JSON lines.

    protocol   the Protocol, and the words for what became of a box
    targets    whether a file may be written, asked before the work
    npz        arrays, one entry for each box
    jsonl      a line for each frame

Trap: a run that ends early, for any reason, leaves what came until then.
"""

from .jsonl import JsonLinesWriter
from .npz import NpzWriter
from .protocol import Writer
from .targets import check_apart

__all__ = ["JsonLinesWriter", "NpzWriter", "Writer", "check_apart"]
