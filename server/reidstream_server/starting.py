"""What a start needs of the machine, checked before models take their time; a dry run checks the same.

    files of TLS -> tokens -> model files -> folders -> ports

Why all of it first: a model may load for minutes, and a wrong key or a port that is in use should not wait for that.
Why all problems at once: whoever starts a service wants to mend them in one go.

Trap: nothing is kept here. A file may change and a port may be taken before it is used, so each is checked again then,
by the same code.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from reidstream_engines.model_kinds import near_name
from reidstream_server.config import ModelFile, SecuritySettings, ServerConfig
from reidstream_server.errors import StartupError
from reidstream_server.identity.access import Access
from reidstream_server.identity.tls import TlsFiles, TlsMaterial, read_tls, server_context
from reidstream_server.identity.tokens import TokenFile
from reidstream_server.tracing.setup import check_tracing
from reidstream_server.transport.addresses import GRPC, HTTP, OPERATORS, check_port
from reidstream_server.transport.http_server.installed import check_http


def check_start(config: ServerConfig) -> None:
    """Raises StartupError with every obstacle, one in a line. Blocks for a moment; opens nothing for good."""
    problems = []
    for check in _checks(config):
        try:
            check()
        except StartupError as error:
            problems.append(str(error))
    if problems:
        raise StartupError("\n".join(problems))


def access_of(security: SecuritySettings) -> Access:
    """Who may call. Raises StartupError."""
    tokens = None if security.tokens_file is None else TokenFile(security.tokens_file)
    return Access(tokens=tokens, certificates=security.tls_client_ca_file is not None)


def tls_of(security: SecuritySettings) -> TlsMaterial | None:
    """The doors' certificate; None without TLS. Raises StartupError."""
    files = _tls_files(security)
    return None if files is None else read_tls(files)


def http_tls_of(security: SecuritySettings) -> ssl.SSLContext | None:
    """The same for doors that Python's own TLS serves. Raises StartupError."""
    files = _tls_files(security)
    return None if files is None else server_context(files)


def _tls_files(security: SecuritySettings) -> TlsFiles | None:
    if security.tls_cert_file is None or security.tls_key_file is None:
        return None
    return TlsFiles(
        certificate=security.tls_cert_file, key=security.tls_key_file, client_ca=security.tls_client_ca_file
    )


def _checks(config: ServerConfig) -> Iterator[Callable[[], object]]:
    listen = config.listen
    yield partial(tls_of, config.security)
    yield partial(access_of, config.security)
    for model in config.models:
        yield partial(_check_model, model)
    if config.engine.gpu_cache is not None:
        yield partial(_check_folder, "gpu_cache", config.engine.gpu_cache)
    if config.engine.tuning_file is not None:
        yield partial(_check_no_folder, "tuning_file", config.engine.tuning_file)
    yield partial(check_tracing, config.tracing.tracing_endpoint)
    yield partial(check_port, listen.host, listen.port, GRPC)
    if listen.http_port is not None:
        yield check_http
        yield partial(check_port, listen.http_host, listen.http_port, HTTP)
    if listen.metrics_enabled:
        yield partial(check_port, listen.metrics_host, listen.metrics_port, OPERATORS)


def _check_model(model: ModelFile) -> None:
    """That there is something to read; what is in it, its loading finds out."""
    what = f"model {model.name!r} ({model.path})"
    try:
        if not model.path.is_dir():  # a folder may be a plan
            model.path.open("rb").close()
    except FileNotFoundError:
        here = "" if model.path.is_absolute() else f"; the path is relative to {Path.cwd()}"
        raise StartupError(f"{what}: there is no such file{here}{near_name(model.path)}") from None
    except OSError as error:
        raise StartupError(f"{what}: cannot be read: {error.strerror}") from error


def _check_no_folder(setting: str, path: Path) -> None:
    """That a file can be there. It need not be, and need not be writable: it may have been made elsewhere."""
    if path.is_dir():
        raise StartupError(f"{setting} {path}: it is a folder; name a file in it, such as {path / 'tunings.json'}")


def _check_folder(setting: str, path: Path) -> None:
    """That files can be made in it. It need not be there; then its nearest parent counts."""
    nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise StartupError(f"{setting} {path}: {nearest} is not a folder; give another --{setting.replace('_', '-')}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StartupError(
            f"{setting} {path}: this user may not write to {nearest}; give another --{setting.replace('_', '-')}"
        )
