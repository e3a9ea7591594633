"""The flags of `stream`, and its help.

Trap: `--tracks` may stand without a policy, so a word behind it is taken for one, though it may be the source.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reidstream_client.choices import (
    EmbedAtIntervals,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    EmbedPolicy,
    OverloadPolicy,
)

from .parser import did_you_mean
from .ranges import number, whole
from .sources import Use

POLICIES: Final = {
    "wait": OverloadPolicy.WAIT,
    "drop-oldest": OverloadPolicy.DROP_OLDEST,
    "reject": OverloadPolicy.REJECT,
}
TRACK_POLICIES: Final[Mapping[str, EmbedPolicy]] = {
    "every-frame": EmbedEveryFrame(),
    "on-risk": EmbedOnRisk(),
    "once": EmbedOnce(),
}
_MOST_FRAMES: Final = 1 << 32

STREAM: Final = """\
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

OUT.npz has one entry per box: frame, name, box_index, box_xyxy, valid, embedding, quality, track_id, outcome,
cached, source_frame; and once: space_id, model. The name is the image file's.

--tracks sends the track ids of the boxes file, and the server keeps a memory of tracks. Each id is one track, which
ends with the run, or when the server needs its room. POLICY says which boxes are embedded:
  every-frame  all; the default. Each track also gets a vector of its own
  on-risk      those that overlap others, have moved or changed, or are better than before; others are cached
  once         the first one of each track
  N            where a track's newest vector is N frames old
A cached box has the vector of the frame source_frame. OUT.npz then has an entry per ended track, too: ended_track_id,
ended_vector, ended_count, ended_weight, ended_first_frame, ended_last_frame, ended_cause; OUT.jsonl has a line each.

examples:
  reidstream-client stream MOT17-04-FRCNN --output out.npz
  reidstream-client stream MOT17-04-FRCNN --output out.npz --use det --model osnet --server gpu1:50051
  reidstream-client stream crops/ --output out.npz --jsonl out.jsonl
  reidstream-client stream clip.mp4 --boxes boxes.jsonl --output out.npz --realtime 25 --policy drop-oldest
  reidstream-client stream clip.mp4 --boxes boxes.csv --output out.npz --jpeg-quality 90
  reidstream-client stream MOT17-04-FRCNN --output out.npz --tracks on-risk
"""


def add_stream(parser: argparse.ArgumentParser) -> None:
    """The flags of `stream`, but for those that other commands have, too."""
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
        "--tracks",
        type=_tracks,
        nargs="?",
        const=EmbedEveryFrame(),
        metavar="POLICY",
        help="keep a memory of the boxes' tracks on the server: every-frame, on-risk, once, or N; see below",
    )
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


def _source(text: str) -> Path:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise argparse.ArgumentTypeError(
            f"{text} is an address, and SOURCE is a folder or a file on this machine; for a live camera use the Python "
            "client, or record a file first"
        )
    return Path(text)


def _tracks(text: str) -> EmbedPolicy:
    if text in TRACK_POLICIES:
        return TRACK_POLICIES[text]
    if text.isdecimal() and 0 < int(text) < _MOST_FRAMES:
        return EmbedAtIntervals(frames=int(text))
    hint = "; SOURCE goes before --tracks" if Path(text).exists() else did_you_mean(text, TRACK_POLICIES)
    raise argparse.ArgumentTypeError(
        f"{text!r} is no policy: choose {', '.join(TRACK_POLICIES)}, or a number of frames from 1{hint}"
    )
