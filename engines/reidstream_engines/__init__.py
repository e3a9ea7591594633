"""Crops in, embeddings out. Knows no network, no sessions, no metrics."""
