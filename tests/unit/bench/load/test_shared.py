"""Frames by handle: the segment is what the contract wants, and ranges hold the pixels."""

from __future__ import annotations

import fcntl
import os

from bench.load.pictures import Content, Pictures
from bench.load.shared import by_handle
from reidstream_proto.v1 import service_pb2
from reidstream_proto.v1.contract import SEGMENT_MAGIC, SEGMENT_NONCE_BYTES, SEGMENT_SEALS


def test_a_segment_begins_and_is_sealed_as_the_contract_says() -> None:
    """Magic, the nonce that is offered, and every seal."""
    offer = by_handle(Pictures(content=Content.RAW, count=1, boxes=1).messages()).offer
    assert len(offer.nonce) == SEGMENT_NONCE_BYTES
    begin = os.pread(offer.fd, len(SEGMENT_MAGIC) + SEGMENT_NONCE_BYTES, 0)
    assert begin == SEGMENT_MAGIC + offer.nonce
    assert os.fstat(offer.fd).st_size == offer.size_bytes
    seals = fcntl.fcntl(offer.fd, fcntl.F_GET_SEALS)
    assert all(seals & seal for seal in SEGMENT_SEALS.values())
    os.close(offer.fd)


def test_messages_name_the_ranges_of_their_pixels() -> None:
    """What lies there is what the message held before; nothing else of the message changed."""
    messages = Pictures(content=Content.RAW, count=2, boxes=3).messages()
    frames = by_handle(messages)
    for message, by_range in zip(messages, frames.messages, strict=True):
        before = service_pb2.EmbedStreamRequest.FromString(message).frame
        after = service_pb2.EmbedStreamRequest.FromString(by_range).frame
        shared = after.raw.shared
        assert os.pread(frames.offer.fd, shared.length_bytes, shared.offset_bytes) == before.raw.data
        after.raw.data = before.raw.data  # which is one of the two ways to bring pixels, so the range goes
        after.raw.ClearField("shared")
        assert after == before
    os.close(frames.offer.fd)
