"""HTTP clients that say anything at all, beside a gRPC stream that behaves.

`HTTP_INPUTS=100000` says so many inputs instead of a few hundred; `make fuzz`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random

import pytest

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_engines.protocol import BoxCrop, Crop
from reidstream_server.transport.http_server import connection
from reidstream_server.transport.http_server import server as http_server
from tests.support.harness import JPEG
from tests.support.hostile_http import Leaving, script_of
from tests.support.http import BOUNDARY, form, http_serving, http_to
from tests.support.http_crowd import Inputs, hear_out

INPUTS = Inputs(
    count=int(os.environ.get("HTTP_INPUTS", "600")), seed=os.environ.get("HTTP_SEED", "0"), script=script_of
)


def is_poison(crop: Crop) -> bool:
    """Some boxes, none of the neighbour's."""
    return isinstance(crop, BoxCrop) and crop.box.x1 % 7 == 5


async def test_whatever_is_said_is_answered_and_nothing_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the log says nothing of it: anybody may say as much as he likes."""
    caplog.set_level(logging.WARNING)
    for name, seconds in (("HEAD_S", 0.3), ("LINGER_S", 0.05)):
        monkeypatch.setattr(connection, name, seconds)
    monkeypatch.setattr(http_server, "_KEEP_ALIVE_S", 0.1)
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    engine = FakeEngine(max_batch=8, script=FakeScript(poison=is_poison))
    bounds = {"max_boxes_per_frame": 35, "max_image_pixels": 100_000, "max_message_bytes": 2**20}
    async with http_serving(engine, receive_timeout_s=0.3, **bounds) as server:
        heard = await hear_out(server, INPUTS)
        async with http_to(server) as http:
            assert (await http.ask("POST", "/embed", *form(JPEG))).status == 200
    assert not wrong
    said = [record for record in caplog.records if record.name != "reidstream_server.runtime.losses"]  # of poison
    assert not [record.getMessage() for record in said]
    assert set(heard.statuses) >= {0, 200, 400, 404, 405}


def test_the_scripts_are_as_hostile_as_they_promise() -> None:
    """Many are requests that are right; all kinds of leaving are there."""
    scripts = [script_of(random.Random(seed)) for seed in range(500)]  # noqa: S311 - not for secrets
    assert {script.leaving for script in scripts} == set(Leaving)
    said = [b"".join(script.pieces) for script in scripts]
    assert sum(data.startswith(b"POST /embed HTTP/1.1\r\n") for data in said) > 50
    assert sum(f"--{BOUNDARY}--".encode() in data for data in said) > 50
    assert sum(b"chunked" in data for data in said) > 20
