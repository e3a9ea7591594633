"""The command: a scene from a seed, written as MOTChallenge sequences."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from .detections import DetectorNoise
from .motchallenge import write_motchallenge
from .parser import Parser
from .people.cast import MAX_PEOPLE
from .scene import MAX_CAMERAS, MAX_FRAMES, make_scene

_FAILED, _INTERRUPTED = 1, 130
_NOISE = DetectorNoise()
_EPILOG = """\
what is written: a folder for each camera, such as OUT/synthetic-7-c1, with
  img1/000001.jpg ...  1280 x 720 pixels, 15 frames a second
  seqinfo.ini          size, length and frame rate
  gt/gt.txt            the truth: frame, id, left, top, width, height, 1, 1, visibility
  det/det.txt          with --detections: frame, -1, left, top, width, height, score, -1, -1, -1
A person has the same id in all cameras. The same options draw the same pixels.

examples:
  python -m reidstream_synthetic --people 8 --cameras 2 --frames 100 --seed 7 OUT
  python -m reidstream_synthetic --people 60 --frames 900 --detections --miss-rate 0.1 OUT
  reidstream-client stream OUT/synthetic-7-c1 --use gt        (embeds every person of every frame)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sequences; returns the exit code: 0, 1 if a file cannot be written, 2 for wrong options, 130."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        noise = DetectorNoise(
            jitter=options.jitter,
            miss_rate=options.miss_rate,
            false_positives=options.false_positives,
            seed=options.seed,
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        scene = make_scene(
            options.seed,
            people=options.people,
            cameras=options.cameras,
            frames=options.frames,
            returning=not options.once,
        )
        with tqdm(total=options.cameras * options.frames, desc="drawing", unit="frame", file=sys.stderr) as bar:
            sequences = write_motchallenge(
                options.folder,
                scene,
                noise=noise if options.detections else None,
                quality=options.quality,
                on_frame=bar.update,
            )
    except KeyboardInterrupt:
        print("\ninterrupted; the last folder is not complete", file=sys.stderr)
        return _INTERRUPTED
    except OSError as error:  # one without a number is ours, and says what to do
        said = error if error.errno is None else f"cannot write {error.filename}: {error.strerror}; choose another OUT"
        print(said, file=sys.stderr)
        return _FAILED
    for sequence in sequences:
        print(sequence)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m reidstream_synthetic",
        description="Draws people who walk past cameras, and writes what each camera saw, with the truth, as "
        "MOTChallenge sequences. The folders of the sequences are printed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder to write to; it is made")
    parser.add_argument("--seed", type=_whole(0, 2**63), default=0, help="another crowd, on other ways (default 0)")
    parser.add_argument(
        "--people",
        type=_whole(1, MAX_PEOPLE),
        default=10,
        metavar="N",
        help=f"how many, 1 to {MAX_PEOPLE}; no two wear the same top and trousers (default 10)",
    )
    parser.add_argument(
        "--cameras",
        type=_whole(1, MAX_CAMERAS),
        default=2,
        metavar="N",
        help=f"how many, 1 to {MAX_CAMERAS}; all see the same people (default 2)",
    )
    parser.add_argument(
        "--frames", type=_whole(1, MAX_FRAMES), default=90, metavar="N", help="of each camera, 15 a second (default 90)"
    )
    parser.add_argument(
        "--once", action="store_true", help="everybody passes a camera once; else people turn round and come back"
    )
    parser.add_argument("--quality", type=_whole(1, 100), default=90, metavar="Q", help="of the JPEGs (default 90)")
    noise = parser.add_argument_group("detections", "what a detector finds, drawn from the truth and the seed")
    noise.add_argument("--detections", action="store_true", help="write det/det.txt")
    noise.add_argument(
        "--jitter",
        type=float,
        default=_NOISE.jitter,
        metavar="SHARE",
        help=f"how far an edge is off, as a share of the box's size (default {_NOISE.jitter:g})",
    )
    noise.add_argument(
        "--miss-rate",
        type=float,
        default=_NOISE.miss_rate,
        metavar="SHARE",
        help=f"how many people in sight are missed, 0 to 1 (default {_NOISE.miss_rate:g})",
    )
    noise.add_argument(
        "--false-positives",
        type=float,
        default=_NOISE.false_positives,
        metavar="N",
        help=f"boxes around nobody in each frame, on average (default {_NOISE.false_positives:g})",
    )
    return parser


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse
