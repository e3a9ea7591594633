"""The operators' port: metrics and probes over HTTP. No frame comes in here, so it is no door.

http          one request and one answer, within bounds
negotiation   in which form a caller gets a page
scrapes       the page of metrics: made once for all who ask at the same time, and not too often
resting       what callers may cost
health        what /healthz and /readyz say
port          the port itself, in a thread of its own
"""
