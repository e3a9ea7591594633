"""The operators' port: metrics and probes over HTTP. No frame comes in here, so it is no door.

http      one request and one answer, within bounds
port      the port itself, in a thread of its own
health    what /healthz and /readyz say
"""
