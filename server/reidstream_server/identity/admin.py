"""Who may see what the server does, session by session.

Why a rule beside `access`: whoever may send frames need not see the cameras, identities and addresses of all others. So
by default only callers on this machine may. Tokens and certificates are asked for before that, as of any call.

Trap: a proxy on this machine makes all of its callers look as if they were here.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from reidstream_server.errors import NotPermitted


class AdminAccess(Enum):
    """Who may call the admin service, of those that may call at all."""

    OFF = "off"
    LOOPBACK = "loopback"
    CLIENTS = "clients"


def check_admin(access: AdminAccess, *, local: bool) -> None:
    """`local`: the caller is on this machine. Raises NotPermitted, which says what to set."""
    match access:
        case AdminAccess.OFF:
            raise NotPermitted(
                "this server shows no figures of its sessions: it runs with --admin off; start it with --admin "
                "loopback for callers on its machine, or with --admin clients for all clients with a token"
            )
        case AdminAccess.LOOPBACK:
            if not local:
                raise NotPermitted(
                    "this server shows the figures of its sessions on its own machine only: call there by 127.0.0.1 "
                    "or localhost, or start it with --admin clients for all clients with a token"
                )
        case AdminAccess.CLIENTS:
            pass
        case _:
            assert_never(access)
