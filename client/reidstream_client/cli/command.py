"""`reidstream-client`: which command runs, and `embed`, `ping` and `info`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from reidstream_client.connection.protocols import Health
from reidstream_client.errors import FileError, ReidError

from .arguments import make_parser
from .doctor import doctor
from .ending import complain, status_of
from .evaluating import calibrate, evaluate
from .interrupts import interruptible
from .reaching import make_client
from .running import stream
from .sources import FrameBoxes
from .sources.folder import whole_image
from .status import Status
from .tables import boxes_text, info_text
from .top import top
from .writers.jsonl import frame_as_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status. Raises BrokenPipeError if nobody reads the output any more."""
    try:
        arguments = make_parser().parse_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Status.USAGE
    commands = {
        "stream": stream,
        "embed": _embed,
        "ping": _ping,
        "info": _info,
        "evaluate": evaluate,
        "calibrate": calibrate,
        "top": top,
        "doctor": doctor,
    }
    try:
        with interruptible():
            return commands[arguments.command](arguments)
    except ReidError as error:
        complain(error)
        return status_of(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(error)
        return Status.USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return Status.INTERRUPTED


def _ping(arguments: argparse.Namespace) -> int:
    with make_client(arguments) as client:
        ping = client.ping()
    print(f"{arguments.server} is {ping.health.name}, {ping.round_trip_s * 1000:.2f} ms")
    return 0 if ping.health is Health.SERVING else Status.NO_SERVER


def _info(arguments: argparse.Namespace) -> int:
    with make_client(arguments) as client:
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
    boxes = whole_image(data, upright=arguments.exif_orientation)
    if arguments.box:
        xyxy = np.array(arguments.box, np.float32)
        boxes = FrameBoxes(xyxy=xyxy, track_ids=np.full(len(xyxy), -1, np.int64))
    with make_client(arguments, model=arguments.model, upright=arguments.exif_orientation) as client:
        answer = client.embed(data, boxes.xyxy)
    if arguments.json:
        print(json.dumps(frame_as_json(arguments.image.name, boxes, answer)))
    else:
        print(boxes_text(boxes.xyxy.tolist(), answer))
    return 0 if answer.valid.any() else Status.NOTHING
