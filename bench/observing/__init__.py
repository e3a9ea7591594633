"""What it costs frames that somebody watches the server: `python -m bench tracing`, `python -m bench scrapes`.

    command  the two commands
    tracing  CPU time of frames that are traced, beside frames that are not, in one process
    doors    that process: one server, with a door for each way to trace
    sink     takes spans, as a collector does
    camera   sends in bursts, or not at all
    scrapes  delays of frames while /metrics is asked for, beside delays while it is not
    pairs    ratios of pairs, with an interval

Both take turns within one run, in short pieces and in a drawn order: other programs on the machine change more from
minute to minute than what is measured here.
"""
