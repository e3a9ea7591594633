"""For the tests of programs that use the client: a server in memory.

    with testing.FakeServer() as server, server.client(camera_id="door") as client:
        assert client.embed(frame, boxes).valid.all()
        assert server.frames[0].xyxy.tolist() == boxes

Why: a test that starts a server is slow and cannot make it fail at the right moment; one that replaces the client's
classes tests its own idea of them. Here only the connection is replaced.

    server          FakeServer
    hub             its inside: calls, held answers
    streams         an open stream: what it owes, and what goes out on it
    tracks          its memory of tracks
    risk            which boxes of a track are embedded
    snapshots       a track, as messages
    connection      a connection and its calls, in memory
    answers         what becomes of each box
    models          its models
    published       what it says of models and limits
    script          what goes wrong, and how often
    arrivals        waiting for frames
    records         what was received
"""

from .answers import Embed
from .records import ReceivedBox, ReceivedFrame, ReceivedImage, ReceivedOptions, ReceivedSession
from .server import FakeServer

__all__ = [
    "Embed",
    "FakeServer",
    "ReceivedBox",
    "ReceivedFrame",
    "ReceivedImage",
    "ReceivedOptions",
    "ReceivedSession",
]
