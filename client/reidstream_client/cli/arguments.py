"""The command's flags, and its help, which teaches by examples."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Final

from reidstream_client import __version__
from reidstream_client.choices import OverloadPolicy
from reidstream_client.connection.grpc_connection import MIN_KEEPALIVE_S

from .doctor.flags import DOCTOR, add_doctor
from .evaluating.flags import CALIBRATE, EVALUATE, add_calibrate, add_evaluate
from .parser import Parser
from .ranges import number, whole
from .sources import Use
from .top.flags import TOP, add_top

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

_STREAM: Final = """\
SOURCE is one of
  a MOTChallenge sequence  a folder with img1/ and gt.txt or det.txt (also gt/gt.txt, det/det.txt)
  a folder of images       JPEG, PNG, WebP; without --boxes, each whole image is one box
  a video                  needs --boxes, and OpenCV: any distribution of it (pip install opencv-python-headless)
Image files are sent as they are; hidden ones are skipped. A frame's number is the last number in its file's name
(cam2_frame_000012.jpg: 12) if every name has one and all differ, else its place: 1, 2, 3, ... A video's frames are
1, 2, 3, ... Where the boxes have a frame 0, places begin with 0.

boxes files, --boxes FILE; columns are separated by commas, semicolons, tabs or spaces:
  MOTChallenge text  frame,id,left,top,width,height,...  used as it is: no 1 is subtracted from left and top.
                     8 or 9 columns are ground truth if the file is gt.txt, with --use gt, or if column 7 holds only 0
                     and 1: then only rows with considered 1 and class 1 count, and the others are counted aloud
  with a header      frame or image; x1,y1,x2,y2 or left,top,width,height or cx,cy,width,height; track_id, class_id
                     if there; also under the names of other tools: xmin, bb_left, filename, ...
  JSON lines         {"frame": 1, "boxes": [[x1, y1, x2, y2], ...]}, or "image": "a.jpg"; "format": "ltwh",
                     "track_ids" and "class_ids" if there
  COCO dataset       images with file_name, annotations with bbox

OUT.npz has one entry per box: frame, name, box_index, box_xyxy, valid, embedding, quality, track_id, outcome;
and once: space_id, model. The name is the image file's.

examples:
  reidstream-client stream MOT17-04-FRCNN --output out.npz
  reidstream-client stream MOT17-04-FRCNN --output out.npz --use det --model osnet --server gpu1:50051
  reidstream-client stream crops/ --output out.npz --jsonl out.jsonl
  reidstream-client stream clip.mp4 --boxes boxes.jsonl --output out.npz --realtime 25 --policy drop-oldest
  reidstream-client stream clip.mp4 --boxes boxes.csv --output out.npz --jpeg-quality 90
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

    _add_stream(add("stream", "stream a folder or a video", _STREAM))
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


def _add_stream(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=_source, metavar="SOURCE", help="sequence, folder or video; see below")
    add("--output", "-o", type=Path, required=True, metavar="OUT.npz", help="where the arrays go")
    add("--jsonl", type=Path, metavar="OUT.jsonl", help="also write one line of JSON per frame, as it comes")
    add("--boxes", type=Path, metavar="FILE", help="the boxes; see below")
    add(
        "--use",
        choices=[use.value for use in Use],
        help="ground truth, or detections (all rows): which of a sequence's boxes, or how to read FILE; default: gt "
        "if there is any",
    )
    add(
        "--first-frame",
        type=whole(0, 1 << 62),
        metavar="N",
        help="the number that the boxes have for the first frame; the others follow it",
    )
    add(
        "--min-visibility",
        type=number(0, 1),
        default=0.0,
        metavar="V",
        help="least visibility in ground truth, 0 to 1",
    )
    add("--camera", metavar="ID", help="names the camera; default: this machine's name")
    add(
        "--realtime",
        type=number(0.01, 10_000),
        metavar="FPS",
        help="send at a camera's rate; default: as fast as possible",
    )
    add("--policy", choices=POLICIES, default="wait", help="what to do while the window is full; default: wait")
    add(
        "--shared-memory",
        action="store_true",
        help="leave a video's frames in memory that a server on this machine reads; send them if that is not possible",
    )
    add(
        "--jpeg-quality",
        type=whole(1, 100),
        metavar="Q",
        help="send a video's frames as JPEG, 1 to 100: a fraction of the bytes, slightly other vectors; default: raw",
    )
    add("--budget-ms", type=number(1, 3_600_000), metavar="N", help="give up frames older than this")
    add(
        "--give-up-after",
        type=number(0, 86_400),
        default=60.0,
        metavar="S",
        help="go on over another stream if one is cut, and end after S seconds without an answer; 0: end at the cut; "
        "default: 60",
    )
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


def _source(text: str) -> Path:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise argparse.ArgumentTypeError(
            f"{text} is an address, and SOURCE is a folder or a file on this machine; for a live camera use the Python "
            "client, or record a file first"
        )
    return Path(text)


def _keepalive(text: str) -> float | None:
    return number(MIN_KEEPALIVE_S, 86_400)(text) if float(text) else None


_keepalive.__name__ = "number"


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not x1,y1,x2,y2") from None
    return x1, y1, x2, y2
