"""Tracks that the caller ends: their ids, checked, as messages.

Why a place in the stream: an end is about the frames that were sent before it, and the same id behind it is a new
track. Trap: a frame that is held for lack of room was sent before it, and is not written yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from reidstream_client.checks import several, unsigned
from reidstream_client.errors import InvalidRequest
from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_proto.v1.contract import MAX_ENDED_TRACK_IDS

from .opening import SessionInfo

_ID_BITS = 64


def parse_ended(opened: SessionInfo, track_ids: Iterable[int]) -> Sequence[int]:
    """The ids that the caller gives, each once. Raises InvalidRequest, also in a session without tracks."""
    if opened.tracks is None:
        raise InvalidRequest("this session has no tracks; open it with tracks=TrackOptions(), and send track_ids")
    given = several("track_ids", track_ids, example="[7]")
    return tuple(dict.fromkeys(unsigned(f"track_ids[{i}]", one, _ID_BITS) for i, one in enumerate(given)))


class EndsOnTheirWay:
    """Ends that wait for the frame before them. One event loop.

    `say`: queues a message behind the frames that were written. `holds_before`: whether a frame of a lower id than this
    one is held.
    """

    def __init__(self, *, say: Callable[[bytes], None], holds_before: Callable[[int], bool]) -> None:
        self._say = say
        self._holds_before = holds_before
        self._waiting: deque[tuple[int, bytes]] = deque()

    def put(self, track_ids: Sequence[int], *, before: int) -> None:
        """End these tracks, before any frame of this id or a higher one."""
        for start in range(0, len(track_ids), MAX_ENDED_TRACK_IDS):
            ids = track_ids[start : start + MAX_ENDED_TRACK_IDS]
            request = service_pb2.EmbedStreamRequest(end_tracks=session_pb2.EndTracks(track_ids=ids))
            self._waiting.append((before, request.SerializeToString()))
        self.go()

    def go(self) -> None:
        """Say what need not wait any more."""
        while self._waiting and not self._holds_before(self._waiting[0][0]):
            self._say(self._waiting.popleft()[1])
