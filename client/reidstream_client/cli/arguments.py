"""The command's flags, and its help, which teaches by examples."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from reidstream_client import __version__
from reidstream_client.connection.grpc_connection import MIN_KEEPALIVE_S

from .doctor.flags import DOCTOR, add_doctor
from .evaluating.flags import CALIBRATE, EVALUATE, add_calibrate, add_evaluate
from .parser import Parser
from .ranges import number
from .stream_flags import STREAM, add_stream
from .top.flags import TOP, add_top

DEFAULT_SERVER: Final = "127.0.0.1:50051"
_MAIN: Final = """\
examples:
  reidstream-client ping
  reidstream-client info
  reidstream-client top
  reidstream-client doctor gate-server:50051
  reidstream-client embed person.jpg
  reidstream-client stream MOT17-04-FRCNN --output out.npz
  reidstream-client stream clip.mp4 --boxes detections.csv --output out.npz --realtime 30
  reidstream-client evaluate Market-1501 --report report
  reidstream-client calibrate out.npz --output threshold.json

exit status:
  0    every frame was answered (this includes dropped and refused frames: see the summary)
  1    the run ended early, or a video did; the output has the answers that came before;
       of doctor and evaluate --check: something is wrong
  2    wrong usage, a file that cannot be read or written, or boxes none of which belongs to a frame
  3    the server cannot be reached, or is not serving
  4    the server refuses: unknown model, another embedding space, a broken answer
  5    there were boxes, and none of them was embedded
  130  interrupted
  141  whoever read the output has gone, such as `| head`
"""

_EMBED: Final = """\
examples:
  reidstream-client embed person.jpg
  reidstream-client embed frame.jpg --box 371,410,451,649 --box 103,549,186,800 --json
  reidstream-client embed frame.jpg --box=-10,20,80,200      (with "=" where a number begins with "-")
"""


def make_parser() -> argparse.ArgumentParser:
    """Eight commands; `command` of the parsed arguments names the chosen one."""
    main = Parser(
        prog="reidstream-client",
        description="Frames and boxes in, re-identification embeddings out.",
        epilog=_MAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    main.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, purpose: str, epilog: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=purpose,
            description=purpose,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    stream = add("stream", "stream a folder or a video", STREAM)
    add_stream(stream)
    _add_model(stream)
    _add_server(stream)
    _add_embed(add("embed", "embed boxes of one image", _EMBED))
    _add_server(add("ping", "ask the server for its health", ""))
    info = add("info", "show models, their preprocessing, and the server's limits", "")
    info.add_argument("model", nargs="?", default="", metavar="MODEL", help="default: the server's default model")
    info.add_argument("--json", action="store_true", help="as JSON")
    _add_server(info)
    evaluating = add("evaluate", "say how good a model is on labelled pictures, with intervals", EVALUATE)
    add_evaluate(evaluating)
    _add_model(evaluating)
    _add_server(evaluating)
    calibrating = add("calibrate", "find the threshold of a space at a wanted false-match rate", CALIBRATE)
    add_calibrate(calibrating)
    _add_model(calibrating)
    _add_server(calibrating)
    sessions = add("top", "show which camera suffers: the sessions of a server, live", TOP)
    add_top(sessions)
    _add_server(sessions)
    doctor = add("doctor", "say what is wrong between this machine and a server, and what to change", DOCTOR)
    doctor.add_argument(
        "server",
        nargs="?",
        default=_default_server(),
        metavar="ADDRESS",
        help=f"HOST:PORT; default: $REIDSTREAM_SERVER, else {DEFAULT_SERVER}",
    )
    add_doctor(doctor)
    _add_identity(doctor)
    return main


def _add_embed(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", type=Path, metavar="IMAGE", help="a JPEG, PNG or WebP file")
    add("--box", type=_box, action="append", metavar="x1,y1,x2,y2", help="in pixels; default: the whole image")
    add("--json", action="store_true", help="whole vectors, as JSON")
    _add_model(parser)
    _add_server(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="default: the server's default model")
    parser.add_argument(
        "--exif-orientation",
        action="store_true",
        help="turn pictures as their EXIF says, as cv2.imread does; boxes are then in the turned picture",
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server",
        default=_default_server(),
        metavar="HOST:PORT",
        help=f"default: $REIDSTREAM_SERVER, else {DEFAULT_SERVER}",
    )
    _add_identity(parser)
    parser.add_argument(
        "--timeout", type=number(0.001, 86_400), default=10.0, metavar="S", help="for one call; default: 10 s"
    )
    parser.add_argument(
        "--keepalive",
        type=_keepalive,
        default=30.0,
        metavar="S",
        help="ping an idle connection this often, so that routers keep it; at least 10, 0: never; default: 30 s",
    )


def _default_server() -> str:
    return os.environ.get("REIDSTREAM_SERVER") or DEFAULT_SERVER


def _add_identity(parser: argparse.ArgumentParser) -> None:
    """How the client knows the server, and proves who it is."""
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="the authority that signs the server's certificate, PEM; any --tls-... flag means TLS",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="this client's certificate, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the key of --tls-cert, PEM")
    parser.add_argument("--tls-server-name", metavar="NAME", help="the name in the server's certificate")
    parser.add_argument(
        "--token-file",
        type=Path,
        default=os.environ.get("REIDSTREAM_TOKEN_FILE") or None,
        metavar="FILE",
        help="file with this client's token; default: $REIDSTREAM_TOKEN_FILE, else none",
    )


def _keepalive(text: str) -> float | None:
    return number(MIN_KEEPALIVE_S, 86_400)(text) if float(text) else None


_keepalive.__name__ = "number"


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not x1,y1,x2,y2") from None
    return x1, y1, x2, y2
