"""`python -m demo`: draw, serve, stream, match, show; then stop everything.

The server starts first, so that it loads and warms up while the cameras are drawn. Trap: SIGTERM and a closed terminal
would end Python without unwinding and leave the server running, so both raise what Ctrl-C raises.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tqdm import tqdm

from reidstream_client import ReidError
from reidstream_engines.parser import Parser

from .clips import Clip, draw_clips
from .identify import identify
from .picture import compose, save
from .report import matches, performance
from .serving import ServerFailed, started, wait_until_healthy
from .streaming import Run, StreamFailed, stream_clips

_FAILED, _INTERRUPTED = 1, 130
_MAX_FRAMES = 2000
_PICTURE = Path(os.path.relpath(Path(__file__).parents[1] / "out" / "demo" / "matches.png"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    options = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if options.server is None:
            clips, run = _with_own_server(options.seed, options.frames)
        else:
            wait_until_healthy(options.server, timeout_s=0)
            clips = _draw(options.seed, options.frames)
            run = _stream(options.server, clips)
        found = identify(clips, run.answers)
        save(options.output, compose(clips, found))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; nothing was left running\n")
        return _INTERRUPTED
    except (ServerFailed, StreamFailed, ReidError, OSError) as error:
        sys.stderr.write(f"\nthe demonstration failed: {error}\n")
        return _FAILED
    sys.stdout.write(f"\n{performance(run, clips)}\n\n{matches(found, clips)}\n\npicture     {options.output}\n")
    return 0


def _with_own_server(seed: int, frames: int) -> tuple[tuple[Clip, Clip], Run]:
    with started() as server:
        clips = _draw(seed, frames)
        address = server.address()
        wait_until_healthy(address)
        return clips, _stream(address, clips)


def _draw(seed: int, frames: int) -> tuple[Clip, Clip]:
    with _bar("drawing two cameras", 2 * frames) as bar:
        return draw_clips(seed, frames, bar.update)


def _stream(target: str, clips: tuple[Clip, Clip]) -> Run:
    with _bar("streaming them", sum(len(clip.shots) for clip in clips)) as bar:
        return stream_clips(target, clips, bar.update)


def _bar(what: str, frames: int) -> tqdm[NoReturn]:
    return tqdm(desc=f"{what:<20}", total=frames, unit="frame", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m demo",
        description="Draws two cameras, streams them to a server, finds the people of one again in the other, and "
        "paints a picture of the matches.",
    )
    parser.add_argument("--seed", type=int, default=0, help="another crowd, in another order of entry (default 0)")
    parser.add_argument(
        "--frames", type=_frames, default=90, help="frames for each camera, 15 of them a second (default 90)"
    )
    parser.add_argument("--output", type=_output, default=_PICTURE, help=f"file for the picture (default {_PICTURE})")
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="use a running server (default: one is started, and stopped at the end)"
    )
    return parser


def _frames(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_FRAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames from 1 to {_MAX_FRAMES}")
    return int(text)


def _output(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file in it, such as {path / _PICTURE.name}")
    return path


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - what signal handlers are given
    raise KeyboardInterrupt
