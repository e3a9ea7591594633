"""The open inference protocol beside the stream, under Triton's own load generator.

    command    the options of `python -m bench triton`
    fetched    perf_analyzer, and a newer C library beside it where the machine's is too old
    runs       what is run, on which wire, and what came out
    table      the rows as text

The table is explained in docs/kserve.md.
"""
