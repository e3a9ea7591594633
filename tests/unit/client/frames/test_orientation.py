"""orientation: what a file's EXIF says, read as the server reads it; and an option that turns pictures."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from reidstream_client import AsyncReidClient, CallRejected, Outcome, ReidClient, testing
from reidstream_client.frames.encoded_size import encoded_size
from reidstream_client.frames.orientation import exif_orientation, turned_size
from reidstream_engines.headers import parse_encoded
from tests.unit.client.scripted_server import ScriptedServer
from tests.unit.engines.test_exif import EXIF, FOUND, NONE, jpeg, record

JUNK = "jpeg, with junk before it"
TURNED = jpeg(EXIF + record(6))  # 50 x 30 as it is stored, 30 x 50 as it is meant


@pytest.mark.parametrize("what", [*(what for what in FOUND if what != JUNK), *NONE])
def test_client_and_server_read_the_same(what: str) -> None:
    """Whatever is in the record, and whatever is wrong with it."""
    data = FOUND.get(what) or NONE[what]
    assert exif_orientation(data) == parse_encoded(data).orientation.value
    assert exif_orientation(memoryview(data)) == exif_orientation(data)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1", TURNED[:20], TURNED[:30], b"pixels" * 40])
def test_what_cannot_be_read_is_as_it_is_stored(data: bytes) -> None:
    """The server says what is wrong with it."""
    assert exif_orientation(data) == 1


def test_the_size_of_a_webcams_picture() -> None:
    """Junk before a marker hides nothing."""
    for junk in (b"\x07", b"\xff\x00\x01", b"\xff\xff"):
        at = TURNED.index(b"\xff\xc0")
        assert encoded_size(TURNED[:at] + junk + TURNED[at:]) == (50, 30)


@pytest.mark.parametrize(("number", "size"), [(1, (50, 30)), (3, (50, 30)), (5, (30, 50)), (8, (30, 50))])
def test_a_quarter_turn_exchanges_the_sides(number: int, size: tuple[int, int]) -> None:
    """From 5 on."""
    assert turned_size((50, 30), number) == size


def test_a_turned_picture_is_pointed_out_once(caplog: pytest.LogCaptureFixture) -> None:
    """With what to do. A client that turns its pictures hears nothing of it."""
    caplog.set_level(logging.WARNING, "reidstream_client")
    boxes = [[4, 5, 20, 25]]
    data = cv2_sized(6)
    with testing.FakeServer() as server:
        with server.client() as client:
            for _ in range(3):
                client.embed(data, boxes)
        assert len(caplog.messages) == 1
        assert "EXIF orientation is 6, and boxes are cut from it as it is stored, 90 x 60 pixels" in caplog.messages[0]
        assert "apply_exif_orientation=True" in caplog.messages[0]
        caplog.clear()
        with server.client(apply_exif_orientation=True) as client:
            client.embed(data, [[4, 61, 20, 89]])  # within 60 x 90
            with client.stream() as session:
                assert session.opened.apply_exif_orientation
                session.send(data, boxes)
                session.finish()
                assert len(list(session)) == 1
        assert caplog.messages == []


def cv2_sized(number: int) -> bytes:
    import cv2  # noqa: PLC0415

    data = cv2.imencode(".jpg", np.zeros((60, 90, 3), np.uint8))[1].tobytes()
    body = EXIF + record(number)
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def test_a_fake_server_measures_the_turned_picture() -> None:
    """So a test of your own sees what a server would see."""
    with testing.FakeServer() as server:
        for upright, size in ((False, (50, 30)), (True, (30, 50))):
            with server.client(apply_exif_orientation=upright) as client:
                client.embed(TURNED, [[1, 1, 20, 20]])
            image = server.frames[-1].image
            assert image is not None
            assert (image.width, image.height) == size
            assert server.frames[-1].options.apply_exif_orientation is upright


async def test_a_server_that_cannot_is_refused(server: ScriptedServer) -> None:
    """An older one does not read the option, and would cut other boxes: an error, instead of wrong vectors."""
    async with AsyncReidClient(server.target, apply_exif_orientation=True) as client:
        with pytest.raises(CallRejected, match=r"the server does not know apply_exif_orientation.*update the server"):
            await client.embed(TURNED, [[1, 1, 20, 20]])
        with pytest.raises(CallRejected, match="does not know apply_exif_orientation"):
            async with client.stream():
                pytest.fail("there is no session")
    async with AsyncReidClient(server.target) as client:
        assert (await client.embed(TURNED, [[1, 1, 20, 20]])).outcomes == (Outcome.EMBEDDED,)


def test_it_is_yes_or_no() -> None:
    """As every option, checked before anything is sent."""
    with pytest.raises(ValueError, match="apply_exif_orientation must be True or False"):
        ReidClient("localhost:1", apply_exif_orientation=6)  # type: ignore[arg-type]
