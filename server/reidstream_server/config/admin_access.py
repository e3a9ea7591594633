"""Who may call the admin service, with the same names as in `identity`.

Why here again: the configuration knows no other room. `app.py` converts one into the other, and a test compares the
names.
"""

from __future__ import annotations

from enum import Enum


class AdminAccess(Enum):
    """Who may see the figures of every session."""

    OFF = "off"
    LOOPBACK = "loopback"
    CLIENTS = "clients"
