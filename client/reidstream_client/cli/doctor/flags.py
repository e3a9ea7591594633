"""The flags of `doctor`, and its help."""

from __future__ import annotations

import argparse
from typing import Final

from reidstream_client.cli.ranges import number

DOCTOR: Final = """\
Looks at a server as a camera's computer sees it, from the name of the host to the vectors of a frame that it draws
itself, and then at the server's metrics. Each check says what was seen, and what to change:

  ok             all is well there
  warning        it works, and not well, or not for long
  wrong          it does not work; begin with the first one
  not looked at  something before it failed, or the server does not tell

Give the flags that your cameras use (--tls-ca, --token-file, --model): what is wrong with them is found, too. It makes
some thirty small calls and sends nine frames, so it may run beside live cameras.
Metrics are tried at port 9464 of the same host; other machines reach it only if the server has --metrics-host.

exit status:
  0    all is well, or there are only warnings
  1    something is wrong
  2    wrong usage, or a file that cannot be read
  130  interrupted

examples:
  reidstream-client doctor
  reidstream-client doctor gate-server:50051 --tls-ca ca.pem --token-file gate-pc.token --model person
  reidstream-client doctor gate-server:50051 --frame-size 3840x2160 --fps 15
  reidstream-client doctor gate-server:50051 --json | jq -r '.findings[] | select(.verdict == "wrong") | .change'
"""

_LEAST, _MOST = 64, 16_384


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    add = parser.add_argument
    add("--model", default="", metavar="NAME", help="the model that the cameras ask for; default: the server's default")
    add("--space-id", metavar="ID", help="the space that its vectors must be of; default: any")
    add(
        "--frame-size",
        type=frame_size,
        default=(1920, 1080),
        metavar="WxH",
        help="of the camera's pictures; frames of this size are sent; default: 1920x1080",
    )
    add("--fps", type=number(0.01, 10_000), default=25.0, metavar="N", help="the camera's frames a second; default: 25")
    add("--metrics", metavar="URL", help="the server's metrics; default: http://HOST:9464/metrics, if they are there")
    add(
        "--interval",
        type=number(0, 3600),
        default=2.0,
        metavar="S",
        help="at least so long between two looks at the metrics, which rates need; default: 2 s",
    )
    add("--json", action="store_true", help="findings as JSON, for programs; see docs/client.md for the fields")
    add(
        "--timeout",
        type=number(0.001, 3600),
        default=5.0,
        metavar="S",
        help="for one look, such as a connection or a call; default: 5 s",
    )


def frame_size(text: str) -> tuple[int, int]:
    """`1920x1080`."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1920x1080")
    size = int(width), int(height)
    if not all(_LEAST <= side <= _MOST for side in size):
        raise argparse.ArgumentTypeError(f"{text}: each side must be {_LEAST} to {_MOST} pixels")
    return size
