"""The client that a command line describes, and how it proves who it is."""

from __future__ import annotations

import argparse

from reidstream_client.choices import RetryPolicy
from reidstream_client.connection.credentials import TlsOptions, read_token
from reidstream_client.sync import ReidClient


def make_client(
    arguments: argparse.Namespace,
    *,
    model: str | None = None,
    latency_budget_s: float | None = None,
    upright: bool = False,
    retry: RetryPolicy | None = None,
) -> ReidClient:
    """Nothing is connected yet. `upright`: pictures are turned as their EXIF says. Raises FileError, InvalidRequest for
    what cannot be used.
    """
    return ReidClient(
        arguments.server,
        model=model,
        latency_budget_s=latency_budget_s,
        apply_exif_orientation=upright,
        timeout_s=arguments.timeout,
        retry=retry,
        keepalive_s=arguments.keepalive,
        tls=tls_of(arguments),
        token=token_of(arguments),
    )


def tls_of(arguments: argparse.Namespace) -> TlsOptions | None:
    """Any of the flags means TLS. Raises InvalidRequest."""
    tls = TlsOptions(
        ca_file=arguments.tls_ca,
        cert_file=arguments.tls_cert,
        key_file=arguments.tls_key,
        server_name=arguments.tls_server_name,
    )
    return tls if tls != TlsOptions() else None


def token_of(arguments: argparse.Namespace) -> str | None:
    """The token in the file that is named. Raises FileError."""
    return None if arguments.token_file is None else read_token(arguments.token_file)
