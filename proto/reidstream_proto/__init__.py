"""The wire contract of reidstream: `.proto` files and their generated stubs, nothing else."""
