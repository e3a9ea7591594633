"""`reidstream-client`: the four commands and their exit statuses.

Trap: every failure is one line on stderr and an exit status from the table in `--help`. A traceback is a bug.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Final

import numpy as np
from tqdm import tqdm

from reidstream_client.connection.credentials import TlsOptions, read_token
from reidstream_client.connection.protocols import Health
from reidstream_client.errors import (
    CallTimeout,
    FileError,
    InvalidRequest,
    MissingExtra,
    ReidError,
    ServerUnavailable,
)
from reidstream_client.sync import ReidClient
from reidstream_client.types import FrameEmbeddings

from .arguments import POLICIES, make_parser
from .interrupts import interruptible
from .sources import FrameBoxes, Use, open_source
from .sources.folder import whole_image
from .streaming import stream_source
from .summary import Summary
from .tables import boxes_text, info_text
from .writers import JsonLinesWriter, NpzWriter, Writer
from .writers.jsonl import frame_as_json

_ENDED_EARLY, _USAGE, _NO_SERVER, _REFUSED, _NOTHING, _INTERRUPTED = 1, 2, 3, 4, 5, 130
_STATUS: Final[Mapping[type[ReidError], int]] = MappingProxyType(
    {
        FileError: _USAGE,
        MissingExtra: _USAGE,
        InvalidRequest: _USAGE,
        ServerUnavailable: _NO_SERVER,
        CallTimeout: _NO_SERVER,
        ReidError: _REFUSED,
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status."""
    try:
        arguments = make_parser().parse_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else _USAGE
    commands = {"stream": _stream, "embed": _embed, "ping": _ping, "info": _info}
    try:
        with interruptible():
            return commands[arguments.command](arguments)
    except ReidError as error:
        _complain(error)
        return next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    except OSError as error:
        print(f"reidstream-client: {error}", file=sys.stderr)
        return _USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED


def _ping(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        ping = client.ping()
    print(f"{arguments.server} is {ping.health.name}, {ping.round_trip_s * 1000:.2f} ms")
    return 0 if ping.health is Health.SERVING else _NO_SERVER


def _info(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        models, info = client.models(), client.info(arguments.model)
    if arguments.json:
        print(json.dumps({"models": [asdict(model) for model in models], **asdict(info)}, indent=2))
    else:
        print(info_text(models, info))
    return 0


def _embed(arguments: argparse.Namespace) -> int:
    try:
        data = arguments.image.read_bytes()
    except OSError as error:
        raise FileError(f"{arguments.image} cannot be read: {error.strerror}") from None
    boxes = whole_image(data)
    if arguments.box:
        xyxy = np.array(arguments.box, np.float32)
        boxes = FrameBoxes(xyxy=xyxy, track_ids=np.full(len(xyxy), -1, np.int64))
    with _client(arguments, model=arguments.model) as client:
        answer = client.embed(data, boxes.xyxy)
    if arguments.json:
        print(json.dumps(frame_as_json(arguments.image.name, boxes, answer)))
    else:
        print(boxes_text(boxes.xyxy.tolist(), answer))
    return 0 if answer.valid.any() else _NOTHING


def _stream(arguments: argparse.Namespace) -> int:
    source = open_source(
        arguments.source,
        boxes=arguments.boxes,
        use=None if arguments.use is None else Use(arguments.use),
        min_visibility=arguments.min_visibility,
    )
    summary = Summary()
    status = 0
    budget_s = None if arguments.budget_ms is None else arguments.budget_ms / 1000
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(_client(arguments, model=arguments.model, latency_budget_s=budget_s))
        session = stack.enter_context(
            client.stream(
                camera_id=arguments.camera,
                overload_policy=POLICIES[arguments.policy],
                shared_memory=arguments.shared_memory,
            )
        )
        if session.opened.shared_memory_refusal and not arguments.quiet:
            print(f"frames are sent: {session.opened.shared_memory_refusal}", file=sys.stderr)
        writers: list[Writer] = [stack.enter_context(NpzWriter(arguments.output, session.opened.models[0]))]
        if arguments.jsonl is not None:
            writers.append(stack.enter_context(JsonLinesWriter(arguments.jsonl)))
        bar = stack.enter_context(
            tqdm(total=source.total, unit="frame", disable=arguments.quiet or not sys.stderr.isatty())
        )

        def on_answer(name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> None:
            summary.add(answer)
            for writer in writers:
                writer.add(name, boxes, answer)
            bar.update()

        start = time.monotonic()
        try:
            stream_source(source, session, fps=arguments.realtime, on_answer=on_answer)
        except (FileError, InvalidRequest):
            raise
        except ReidError as error:
            _complain(error)
            status = _ENDED_EARLY
        finally:
            elapsed_s = time.monotonic() - start
            bar.close()
            if not arguments.quiet and summary.frames:
                print(summary.text(elapsed_s))
    if not arguments.quiet and summary.frames:
        print(f"wrote {arguments.output}")
    return status or (_NOTHING if summary.boxes and not summary.embedded else 0)


def _client(
    arguments: argparse.Namespace, *, model: str | None = None, latency_budget_s: float | None = None
) -> ReidClient:
    tls = TlsOptions(
        ca_file=arguments.tls_ca,
        cert_file=arguments.tls_cert,
        key_file=arguments.tls_key,
        server_name=arguments.tls_server_name,
    )
    return ReidClient(
        arguments.server,
        model=model,
        latency_budget_s=latency_budget_s,
        timeout_s=arguments.timeout,
        keepalive_s=arguments.keepalive,
        tls=tls if tls != TlsOptions() else None,
        token=None if arguments.token_file is None else read_token(arguments.token_file),
    )


def _complain(error: ReidError) -> None:
    text = " ".join(str(error).split())
    if error.unanswered:
        first, last = error.unanswered[0], error.unanswered[-1]
        text += f" ({len(error.unanswered)} frames have no answer, {first} to {last})"
    print(f"reidstream-client: {text}", file=sys.stderr)
