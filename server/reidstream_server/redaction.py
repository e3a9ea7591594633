"""Hides passwords in what people read: the log, refused settings, the configuration.

Why a room of its own: whoever writes for people may look in here without knowing engines. Values come from operators,
who give a camera's or a registry's address, and from clients, whose cameras are often named by their address.
"""

from reidstream_engines.redaction import without_secrets

__all__ = ["without_secrets"]
