"""Traces of frames, for OpenTelemetry: which frames are recorded, and how their spans reach a collector.

Why a room: `otlp` alone imports OpenTelemetry, which is an extra. The rest decides, counts and queues. A frame that
is not recorded costs next to nothing.
"""
