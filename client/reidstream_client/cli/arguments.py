"""The command's flags, and its help, which teaches by examples."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from reidstream_client import __version__
from reidstream_client.choices import OverloadPolicy
from reidstream_client.connection.grpc_connection import MIN_KEEPALIVE_S

from .sources import Use

DEFAULT_SERVER: Final = "127.0.0.1:50051"
POLICIES: Final = {
    "wait": OverloadPolicy.WAIT,
    "drop-oldest": OverloadPolicy.DROP_OLDEST,
    "reject": OverloadPolicy.REJECT,
}

_MAIN: Final = """\
examples:
  reidstream-client ping
  reidstream-client info
  reidstream-client embed person.jpg
  reidstream-client stream MOT17-04-FRCNN --output out.npz
  reidstream-client stream clip.mp4 --boxes detections.csv --output out.npz --realtime 30

exit status:
  0    every frame was answered (this includes dropped and refused frames: see the summary)
  1    the run ended early; the output has the answers that came before
  2    wrong usage, or a file that cannot be read or written
  3    the server cannot be reached, or is not serving
  4    the server refuses: unknown model, another embedding space, a broken answer
  5    there were boxes, and none of them was embedded
  130  interrupted
"""

_STREAM: Final = """\
SOURCE is one of
  a MOTChallenge sequence  a folder with img1/ and gt.txt or det.txt (also gt/gt.txt, det/det.txt)
  a folder of images       JPEG, PNG, WebP; without --boxes, each whole image is one box
  a video                  needs --boxes, and OpenCV: any distribution of it (pip install opencv-python-headless)
Image files are sent as they are. Frame numbers are the files' names where these are numbers, else 1, 2, 3, ...

boxes files, --boxes FILE:
  MOTChallenge text   frame,id,left,top,width,height,...  used as it is: no 1 is subtracted from left and top;
                      from ground truth (8 or 9 columns) only rows with considered 1 and class 1
  .csv with a header  frame or image; x1,y1,x2,y2 or left,top,width,height; track_id, class_id if there
  .jsonl              {"frame": 1, "boxes": [[x1, y1, x2, y2], ...]}, or "image": "a.jpg"; "format": "ltwh",
                      "track_ids" and "class_ids" if there

OUT.npz has one entry per box: frame, box_index, box_xyxy, valid, embedding, quality, track_id, outcome;
and once: space_id, model.

examples:
  reidstream-client stream MOT17-04-FRCNN --output out.npz
  reidstream-client stream MOT17-04-FRCNN --output out.npz --use det --model osnet --server gpu1:50051
  reidstream-client stream crops/ --output out.npz --jsonl out.jsonl
  reidstream-client stream clip.mp4 --boxes boxes.jsonl --output out.npz --realtime 25 --policy drop-oldest
"""

_EMBED: Final = """\
examples:
  reidstream-client embed person.jpg
  reidstream-client embed frame.jpg --box 371,410,451,649 --box 103,549,186,800 --json
  reidstream-client embed frame.jpg --box=-10,20,80,200      (with "=" where a number begins with "-")
"""


class _Parser(argparse.ArgumentParser):
    """Prints help as it was written; an error is one line that says where to find help."""

    def __init__(self, *, epilog: str = "", **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(
            epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message: str) -> NoReturn:
        """One line, and status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """Four commands; `command` of the parsed arguments names the chosen one."""
    main = _Parser(
        prog="reidstream-client",
        description="Frames and boxes in, re-identification embeddings out.",
        epilog=_MAIN,
    )
    main.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, purpose: str, epilog: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=purpose, description=purpose, epilog=epilog)

    _add_stream(add("stream", "stream a folder or a video", _STREAM))
    _add_embed(add("embed", "embed boxes of one image", _EMBED))
    _add_server(add("ping", "ask the server for its health", ""))
    info = add("info", "show models, their preprocessing, and the server's limits", "")
    info.add_argument("model", nargs="?", default="", metavar="MODEL", help="default: the server's default model")
    info.add_argument("--json", action="store_true", help="as JSON")
    _add_server(info)
    return main


def _add_stream(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="sequence, folder or video; see below")
    add("--output", "-o", type=Path, required=True, metavar="OUT.npz", help="where the arrays go")
    add("--jsonl", type=Path, metavar="OUT.jsonl", help="also write one line of JSON per frame, as it comes")
    add("--boxes", type=Path, metavar="FILE", help="the boxes; see below")
    add("--use", choices=[use.value for use in Use], help="which of a sequence's boxes; default: gt if there is any")
    add(
        "--min-visibility",
        type=_number(0, 1),
        default=0.0,
        metavar="V",
        help="least visibility in ground truth, 0 to 1",
    )
    add("--camera", metavar="ID", help="names the camera; default: this machine's name")
    add(
        "--realtime",
        type=_number(0.01, 10_000),
        metavar="FPS",
        help="send at a camera's rate; default: as fast as possible",
    )
    add("--policy", choices=POLICIES, default="wait", help="what to do while the window is full; default: wait")
    add(
        "--shared-memory",
        action="store_true",
        help="leave a video's frames in memory that a server on this machine reads; send them if that is not possible",
    )
    add("--budget-ms", type=_number(1, 3_600_000), metavar="N", help="give up frames older than this")
    add("--quiet", "-q", action="store_true", help="no progress bar and no summary")
    _add_model(parser)
    _add_server(parser)


def _add_embed(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", type=Path, metavar="IMAGE", help="a JPEG, PNG or WebP file")
    add("--box", type=_box, action="append", metavar="x1,y1,x2,y2", help="in pixels; default: the whole image")
    add("--json", action="store_true", help="whole vectors, as JSON")
    _add_model(parser)
    _add_server(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="default: the server's default model")


def _add_server(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("REIDSTREAM_SERVER") or DEFAULT_SERVER
    parser.add_argument(
        "--server", default=default, metavar="HOST:PORT", help=f"default: $REIDSTREAM_SERVER, else {DEFAULT_SERVER}"
    )
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
    parser.add_argument(
        "--timeout", type=_number(0.001, 86_400), default=10.0, metavar="S", help="for one call; default: 10 s"
    )
    parser.add_argument(
        "--keepalive",
        type=_keepalive,
        default=30.0,
        metavar="S",
        help="ping an idle connection this often, so that routers keep it; at least 10, 0: never; default: 30 s",
    )


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not in {least:g} to {most:g}")
        return value

    parse.__name__ = "number"
    return parse


def _keepalive(text: str) -> float | None:
    return _number(MIN_KEEPALIVE_S, 86_400)(text) if float(text) else None


_keepalive.__name__ = "number"


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not x1,y1,x2,y2") from None
    return x1, y1, x2, y2
