"""What a run leaves behind: arrays in an .npz file, and JSON lines."""

from .jsonl import JsonLinesWriter
from .npz import NpzWriter
from .protocol import Writer

__all__ = ["JsonLinesWriter", "NpzWriter", "Writer"]
