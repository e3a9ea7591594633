"""Rules and alerts for Prometheus, and how Alertmanager groups them.

    objectives  what is promised: the one place to change it
    outcomes    whose fault each outcome of a frame is
    durations   windows, and how tests make them shorter
    rules       what a rule and a group of rules are
    recording   figures that are computed once: for alerts, and for dashboards
    alerts      what wakes somebody, or asks for a look
    yaml        the text that Prometheus reads
    command     writes `reidstream.rules.yml`

`make rules` writes that file. `prometheus.yml` and `alertmanager.yml` are written by hand.

Why generated: tests need the same rules with windows of seconds, outcomes are a closed set that the server owns, and a
burn rate repeats each expression for seven windows.
"""
