"""Dashboards for Grafana: code that writes the files which Grafana reads.

    promql      pieces of queries: the chosen servers, rates, quantiles of several servers
    panels      the kinds of panels, each with the look of its kind
    page        a dashboard: sections of panels, variables, links, marks of restarts and drains
    health, saturation, models, sessions, calls
                the five dashboards
    command     writes `dashboards/*.json`

`make dashboards` writes these files. `provisioning/` is written by hand: where Grafana finds Prometheus and the files.

Why generated: ninety panels need the same selectors, units and looks, and the limits that colour them are those of
the alerts. The builders are Grafana's own (foundation SDK), so a word that Grafana does not know does not type-check.
"""
