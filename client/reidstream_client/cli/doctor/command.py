"""`reidstream-client doctor`: look, judge, print.

Why in this order and never back: what is judged is all there before the first judgement, so a finding cannot depend on
which check was made first. Trap: what the command line itself has wrong (a file, an address) is no finding: it is told
as every command tells it, before anything is looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from reidstream_client import __version__
from reidstream_client.aio import AsyncReidClient
from reidstream_client.choices import RetryPolicy
from reidstream_client.cli.reaching import tls_of, token_of
from reidstream_client.cli.status import Status
from reidstream_client.connection.credentials import same_trust
from reidstream_client.connection.grpc_connection import GrpcConnection
from reidstream_client.connection.targets import proxy_of
from reidstream_client.options import DEFAULT_MAX_MESSAGE_BYTES

from .finding import Finding, Verdict, worst
from .gather.everything import Means, gather
from .gather.progress import Progress
from .gather.web import parse_url
from .judge.everything import judge
from .report import as_json, as_text, terminal_style
from .seen import Asked, Seen


def doctor(arguments: argparse.Namespace) -> int:
    """Run it; returns the exit status. Raises ReidError for what the command line has wrong."""
    asked, findings = diagnose(arguments)
    print(as_json(asked, findings) if arguments.json else as_text(asked, findings, terminal_style(sys.stdout)))
    return Status.WRONG if worst(findings) is Verdict.WRONG else 0


def diagnose(arguments: argparse.Namespace) -> tuple[Asked, Sequence[Finding]]:
    """What was asked, and what was found."""
    tls, token = tls_of(arguments), token_of(arguments)
    if arguments.metrics is not None:
        parse_url(arguments.metrics)
    asked = Asked(
        target=arguments.server,
        version=__version__,
        timeout_s=arguments.timeout,
        tls=tls is not None,
        client_certificate=tls is not None and tls.cert_file is not None,
        token=token is not None,
        model=arguments.model,
        space_id=arguments.space_id,
        frame_size=arguments.frame_size,
        fps=arguments.fps,
        proxy=proxy_of(arguments.server, os.environ),
        metrics=arguments.metrics,
    )
    connection = GrpcConnection(
        arguments.server, max_message_bytes=DEFAULT_MAX_MESSAGE_BYTES, keepalive_s=None, tls=tls, token=token
    )
    client = AsyncReidClient(
        arguments.server,
        model=arguments.model or None,
        timeout_s=arguments.timeout,
        retry=RetryPolicy(attempts=1),
        connect=lambda _: connection,
    )
    progress = Progress()
    means = Means(
        client=client,
        connection=connection,
        trust=None if tls is None else same_trust(tls),
        name=None if tls is None else tls.server_name,
        interval_s=arguments.interval,
        progress=progress,
    )
    try:
        seen = asyncio.run(_look(asked, means))
    finally:
        progress.over()
    return asked, judge(seen)


async def _look(asked: Asked, means: Means) -> Seen:
    async with means.client:
        return await gather(asked, means)
