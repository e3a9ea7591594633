"""1.5 times what the server can do, from live cameras, one of which may be greedy.

    command   the options of `python -m bench overload`
    run       the peak, then each policy with each kind of greed
    live      cameras that send on, whatever happened to their frames
    fairness  how evenly the capacity was shared
    report    figures, targets, table

The targets are explained in docs/benchmark.md.
"""
