"""What tests and the picture of the dashboards share.

schema     Grafana's own types as JSON Schema, and what is wrong with a dashboard
board      a dashboard's file: its panels and queries, with the variables replaced as Grafana does
cameras    mixed load, in which everything happens that a panel shows
scene      the server and the incident of the picture
drawing    panels as SVG
picture    makes docs/images/dashboards.svg
"""
