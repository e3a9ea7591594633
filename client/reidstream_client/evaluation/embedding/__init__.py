"""Vectors of labelled pictures, made by a server.

    embedder    every picture through a client, each file once
    cache       what was made before, by the digest of a file and the space
    own_server  a server that is started for the run, and ended with it

Trap: vectors that are kept outlive the model that made them. So they are kept by space, which names the weights and the
preprocessing, and by the bytes of the file, not by its name.
"""

from .cache import VectorCache
from .embedder import Embedded, embed
from .own_server import own_server

__all__ = ["Embedded", "VectorCache", "embed", "own_server"]
