"""What a scenario is made of. Times are nanoseconds from the start of the run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from reidstream_server.core.terms import OverloadPolicy
from reidstream_server.tracks.room import TrackBounds
from reidstream_server.tracks.sighting import Rect
from reidstream_server.tracks.terms import TrackTerms

MS = 1_000_000
START_NS = 10_000 * MS
DIMS = (48, 24)
"""Of the two models. So large that a few cached rows fill what the smallest bounds leave to them."""


class Style(Enum):
    """CALM: nothing is lost and nothing is full, so a session that was handed over must end as an unbroken one does.
    ROUGH: frames are dropped, refused, too late, or fail. TIGHT: there is no room for all tracks.
    """

    CALM = "calm"
    ROUGH = "rough"
    TIGHT = "tight"


class FrameTrouble(Enum):
    """What is wrong with a frame. REFUSED: found by the door. UNDECODABLE: found when it is staged."""

    REFUSED = "refused"
    UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPlan:
    """A box. `track_id`: None for a doubtful one. `poison`: the engine fails on it."""

    track_id: int | None
    model: int
    rect: Rect
    quality: float
    overlap: float
    poison: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlan:
    """A frame of a client, and the tracks that it says are over behind it."""

    frame_id: int
    captured_ns: int
    boxes: tuple[BoxPlan, ...]
    trouble: FrameTrouble | None = None
    ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The stream breaks, and is opened again so much later."""

    at_ns: int
    outage_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The server asks a client to leave, with so much time."""

    at_ns: int
    deadline_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """A camera. `read_ns`: how long it takes for each message. `closes`: it half-closes when all is sent."""

    number: int
    terms: TrackTerms
    policy: OverloadPolicy
    window: int
    budget_ns: int | None
    frames: tuple[FramePlan, ...]
    cuts: tuple[Cut, ...]
    drains: tuple[Drain, ...]
    read_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run."""

    seed: int
    style: Style
    bounds: TrackBounds
    clients: tuple[ClientPlan, ...]
    staging_ns: int
    batch_ns: int

    def unbroken(self) -> Scenario:
        """The same, without cuts and drains."""
        clients = tuple(_unbroken(client) for client in self.clients)
        return Scenario(
            seed=self.seed,
            style=self.style,
            bounds=self.bounds,
            clients=clients,
            staging_ns=self.staging_ns,
            batch_ns=self.batch_ns,
        )


def _unbroken(client: ClientPlan) -> ClientPlan:
    return ClientPlan(
        number=client.number,
        terms=client.terms,
        policy=client.policy,
        window=client.window,
        budget_ns=client.budget_ns,
        frames=client.frames,
        cuts=(),
        drains=(),
        read_ns=client.read_ns,
    )
