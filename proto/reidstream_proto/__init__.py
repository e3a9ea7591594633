"""The wire contract of reidstream: `.proto` files and their generated stubs, nothing else."""

__version__ = "0.1.0"
