"""The server beside its ceilings.

    command    the options of `python -m bench` and `python -m bench compare`
    scenarios  what is measured, and the steps of one measurement
    results    figures, medians, ratios, and their file
    table      a run, or two runs side by side, as text

The table's rows and columns are explained in docs/benchmark.md.
"""
