"""Crops in, embeddings out. Knows no network, no sessions, no metrics."""

__version__ = "0.1.0"
