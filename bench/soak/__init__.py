"""Many frames of every kind over streams that come and go; then memory, descriptors and shared memory are compared.

    command    the options of `python -m bench soak`
    run        warm-up, stretches, and a sample after each
    kinds      every kind of frame, with the answer that it must have
    traffic    the cameras: sessions drawn from a seed, with every way to end
    cutter     a proxy whose connections can be cut
    book       what was sent, answered, and wrong
    trimmed    the server, which also reports its memory after trimming
    footprint  what a process holds
    growth     the slope through samples
    report     targets, table, JSON

The targets are explained in docs/benchmark.md.
"""
