"""What a hostile HTTP client says: valid requests, damaged in their bytes, heads, chunks, forms and fields.

A seed makes one script: the pieces in which it is sent, and how the client leaves. Trap: most of what is random is
refused in its first line, so most scripts are requests that are right but for one thing or two.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tests.support.harness import JPEG, encode, picture
from tests.support.http import BOUNDARY

SMALL = encode(picture(32, 48), ".png")
PATHS = (
    "/embed",
    "/embed",
    "/embed",
    "/embed",
    "/docs",
    "/docs.js",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/nowhere",
)
METHODS = ("POST", "GET", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW")
FIELDS = (
    "model",
    "boxes",
    "as_base64",
    "camera_id",
    "expected_space_id",
    "latency_budget_ms",
    "priority",
    "apply_exif_orientation",
    "file",
    "boxs",
    "",
)
TEXTS = (
    "",
    "x",
    "true",
    "0",
    "-1",
    "fake",
    "high",
    "\r\n",
    "a\x00b",
    '"',
    "\\",
    "%s{}",
    "\u00e9" * 100,
    "\U0001f3a5",
    "9" * 40,
    "../../etc/passwd",
    "<script>",
    "a" * 3000,
)
NUMBERS = ("0", "1", "-1", "10", "60.5", "1e308", "1e999", "-0.0", "9" * 30, "null", "true", '"7"', "NaN", "[]", "{}")
HEADERS = (
    "Connection: close",
    "Connection: keep-alive, Upgrade",
    "Connection: Upgrade\r\nUpgrade: h2c",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x",
    "Expect: 100-continue",
    "Expect: nothing",
    "Accept: application/octet-stream",
    "Accept: application/x-npy",
    "Accept: text/html, */*;q=0.8",
    "Accept: text/html",
    "Accept:",
    "Authorization: Bearer x",
    "Authorization: \xff",
    "Content-Encoding: gzip",
    "Content-Length: 0",
    "Content-Length: 18446744073709551617",
    "Content-Length: -1",
    "Content-Type: image/png",
    "Content-Type: multipart/form-data",
    "Content-Type: multipart/form-data; boundary=" + "b" * 100,
    'Content-Type: multipart/form-data; boundary="' + '";' * 50,
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Host: a\r\nHost: b",
    "X: " + "y" * 5000,
    "X: " + "y" * 20000,
    " folded: x",
    "no colon",
    ": no name",
    "X\x00: y",
    "\r\n",
)


class Leaving(Enum):
    """How the client goes. READS: when the server has said all."""

    READS = auto()
    RESETS = auto()
    HALF_CLOSES = auto()
    CLOSES = auto()


@dataclass(frozen=True, slots=True)
class HostileScript:
    """`pieces`: each is written by itself."""

    pieces: Sequence[bytes]
    leaving: Leaving


def script_of(rng: random.Random) -> HostileScript:
    """What one connection says."""
    if rng.random() < 0.03:
        data = rng.randbytes(rng.randrange(1, 400))
    else:
        data = b"".join(_request(rng) for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 12))))
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 1, 3))):
        data = damaged(rng, data)
    return HostileScript(cut(rng, data), leaving_of(rng))


def leaving_of(rng: random.Random) -> Leaving:
    """Most clients read to the end."""
    return rng.choice((Leaving.READS,) * 7 + (Leaving.RESETS, Leaving.HALF_CLOSES, Leaving.CLOSES))


def _request(rng: random.Random) -> bytes:
    path = rng.choice(PATHS)
    method = rng.choice(METHODS) if rng.random() < 0.1 else "POST" if path == "/embed" else "GET"
    body, kind = _body(rng) if path == "/embed" and method != "GET" else (b"", "")
    if rng.random() < 0.1:
        path += "?" + "&".join(f"{rng.choice(FIELDS)}={_value(rng)}" for _ in range(rng.choice((1, 2, 100))))
        path = path.replace(" ", "%20").replace("\r", "%0D").replace("\n", "\\n")
    lines = ["Host: t"] + ([f"Content-Type: {kind}"] if kind else [])
    if body and rng.random() < 0.3:
        lines.append("Transfer-Encoding: chunked")
        body = chunked(rng, body)
    elif body:
        lines.append(f"Content-Length: {len(body) + rng.choice((0,) * 12 + (1, -1, 1000))}")
    if rng.random() < 0.2:
        lines += rng.choices(HEADERS, k=rng.choice((1, 1, 2, 5)))
    if rng.random() < 0.05:
        rng.shuffle(lines)
    version = rng.choice(("HTTP/1.1",) * 12 + ("HTTP/1.0", "HTTP/2.0", "HTTP/9", ""))
    head = f"{method} {path} {version}\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def _body(rng: random.Random) -> tuple[bytes, str]:
    if rng.random() < 0.2:
        return rng.choice((JPEG, SMALL, b"", b"x", bytes(5000))), rng.choice(("image/png", "image/jpeg", "text/plain"))
    parts = [_part(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 5, 70)))]
    body = b"".join(parts) + rng.choice((f"--{BOUNDARY}--\r\n",) * 12 + ("", f"--{BOUNDARY}", "--")).encode()
    return body, f"multipart/form-data; boundary={rng.choice((BOUNDARY,) * 12 + ('other', ''))}"


def _part(rng: random.Random) -> bytes:
    name = rng.choice(FIELDS) if rng.random() < 0.3 else "file"
    content = _picture(rng) if name == "file" else _value(rng, name).encode("utf-8", "replace")
    about = rng.choice(
        (f'form-data; name="{name}"',) * 12
        + (
            f"form-data; name={name}; filename=x",
            f'form-data; filename="\\"; name={name}"',
            "form-data",
            'form-data; name="',
            "form-data; " + ';"' * 500,
            f"form-data; name*=UTF-8''{name}",
            "x" * 5000,
        )
    )
    extra = rng.choice(("",) * 8 + ("Content-Type: image/png\r\n", "X: y\r\n" * 20, "\r\n", ":\r\n", "X\r\n"))
    return f"--{BOUNDARY}\r\nContent-Disposition: {about}\r\n{extra}\r\n".encode() + content + b"\r\n"


def _picture(rng: random.Random) -> bytes:
    data = rng.choice((JPEG, SMALL, SMALL, b"", f"\r\n--{BOUNDARY[:-1]}".encode() * 20))
    return damaged(rng, data) if data and rng.random() < 0.4 else data


def _value(rng: random.Random, name: str = "") -> str:
    if name == "boxes" or rng.random() < 0.3:
        return rng.choice((_boxes, _boxes, _boxes, _json))(rng)
    return rng.choice(TEXTS)


def _boxes(rng: random.Random) -> str:
    def box() -> str:
        if rng.random() < 0.7:
            return "[" + ",".join(rng.choice(NUMBERS[:6]) for _ in range(rng.choice((4, 4, 4, 4, 3)))) + "]"
        keys = rng.sample(("x1", "y1", "x2", "y2", "class_id", "score", "id"), rng.randrange(3, 8))
        return "{" + ",".join(f'"{key}":{rng.choice(NUMBERS)}' for key in keys) + "}"

    return "[" + ",".join(box() for _ in range(rng.choice((0, 1, 1, 3, 50)))) + "]"


def _json(rng: random.Random) -> str:
    deep = rng.randrange(1, 3000)
    return rng.choice(("[" * deep, "[" * deep + "]" * deep, '{"a":' * deep, json.dumps(rng.choice(TEXTS)), "7", "{"))


def chunked(rng: random.Random, body: bytes) -> bytes:
    """A body in chunks, some of which are wrong."""
    out, at = [], 0
    while at < len(body):
        size = rng.choice((1, 7, 100, 4000, len(body)))
        piece = body[at : at + size]
        at += size
        length = rng.choice(
            (f"{len(piece):x}",) * 40 + (f"{len(piece):x};ext={'e' * 100}", f"{len(piece) + 1:x}", "zz", "-1")
        )
        out.append(length.encode() + b"\r\n" + piece + b"\r\n")
    trailers = rng.choice((b"",) * 6 + (b"X: y\r\n", b"Content-Length: 3\r\n", b"X: y\r\n" * 6000, b"\x00\r\n"))
    return b"".join(out) + rng.choice(
        (b"0\r\n" + trailers + b"\r\n",) * 10 + (b"", b"0\r\n", b"00000000000000000000\r\n\r\n")
    )


def damaged(rng: random.Random, data: bytes) -> bytes:
    """With some bytes gone, added or changed."""
    at, to = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    damages: Sequence[Callable[[], bytes]] = (
        lambda: data[:at],
        lambda: data[:at] + rng.randbytes(1) + data[at + 1 :],
        lambda: data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:],
        lambda: data[:at] + data[to:],
        lambda: data[:to] + data[at:to] + data[to:],
        lambda: data.replace(b"\r\n", b"\n", rng.randrange(1, 9)),
        lambda: data[:at] + rng.choice((b"\r\n", b"\r\n\r\n", b"\x00", b" ", b":", b"--", b'"')) + data[at:],
    )
    return rng.choice(damages)()


def cut(rng: random.Random, data: bytes) -> Sequence[bytes]:
    """In pieces."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 0, 1, 2, 5))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
