"""TrackOptions, from the wire and back: what a session asks for about its tracks, and the tracks that it goes on with.

Trap: an absent field of EmbedOnRisk has the server's default, rounded as the wire rounds it. So a client that sends
back what SessionOpened told it gets the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np

from reidstream_engines.protocol import Embeddings
from reidstream_proto.v1 import frame_pb2, session_pb2
from reidstream_server.errors import InvalidCall, WrongSpace
from reidstream_server.intake.fields import check_count
from reidstream_server.intake.track_terms import check_ids, check_snapshot, check_track_terms, check_tracks_are_offered
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.models import ServedModel
from reidstream_server.tracks.room import TrackBounds
from reidstream_server.tracks.rows import KeptRow, TrackRow
from reidstream_server.tracks.sighting import single
from reidstream_server.tracks.terms import AtIntervals, EmbedPolicy, EveryFrame, Once, OnRisk, TrackTerms, TrackVector
from reidstream_server.tracks.track import LastBox, Snapshot, Sum

_NS_A_MS = 1_000_000
_LONGEST_NS = 10**18  # thirty years: sums of ages must fit into the wire's numbers

_VECTORS: Mapping[int, TrackVector] = {
    session_pb2.TRACK_VECTOR_UNSPECIFIED: TrackVector.ROBUST,
    session_pb2.TRACK_VECTOR_ROBUST: TrackVector.ROBUST,
    session_pb2.TRACK_VECTOR_MEAN: TrackVector.MEAN,
}
_VECTORS_BACK: Mapping[TrackVector, session_pb2.TrackVector.ValueType] = {
    TrackVector.ROBUST: session_pb2.TRACK_VECTOR_ROBUST,
    TrackVector.MEAN: session_pb2.TRACK_VECTOR_MEAN,
}


def parse_track_terms(message: session_pb2.TrackOptions, bounds: TrackBounds) -> TrackTerms:
    """What the session asks for. Raises CallRefused."""
    check_tracks_are_offered(bounds)
    check_count("track_options.open_tracks", len(message.open_tracks), bounds.max_tracks)
    if message.vector not in _VECTORS:
        known = ", ".join(map(str, sorted(_VECTORS)))
        raise InvalidCall(f"track_options.vector is {message.vector}; this server knows {known}")
    terms = TrackTerms(
        timeout_ns=message.timeout_ms * _NS_A_MS,
        policy=_policy(message),
        vector=_VECTORS[message.vector],
        representatives=message.representatives,
        snapshots=message.snapshots,
    )
    check_track_terms(terms)
    return terms


def parse_open_tracks(message: session_pb2.TrackOptions, agreement: Agreement, now_ns: int) -> tuple[Snapshot, ...]:
    """The tracks that the session goes on with. Ages count back from `now_ns`. Any thread. Raises CallRefused."""
    by_name = {model.name: model for model in agreement.routes.models.values()}
    snapshots = tuple(
        _snapshot(f"track_options.open_tracks[{index}]", one, by_name, now_ns)
        for index, one in enumerate(message.open_tracks)
    )
    check_ids(snapshots)
    return snapshots


def track_options(terms: TrackTerms) -> session_pb2.TrackOptions:
    """What holds, with every default."""
    message = session_pb2.TrackOptions(
        timeout_ms=terms.timeout_ns // _NS_A_MS,
        vector=_VECTORS_BACK[terms.vector],
        representatives=terms.representatives,
        snapshots=terms.snapshots,
    )
    match terms.policy:
        case EveryFrame():
            message.every_frame.SetInParent()
        case Once():
            message.once.SetInParent()
        case AtIntervals(frames=frames, interval_ns=interval_ns):
            if frames is not None:
                message.at_intervals.frames = frames
            if interval_ns is not None:
                message.at_intervals.milliseconds = interval_ns // _NS_A_MS
        case OnRisk() as risk:
            message.on_risk.max_overlap = risk.max_overlap
            message.on_risk.max_size_ratio = risk.max_size_ratio
            message.on_risk.max_shift = risk.max_shift
            message.on_risk.min_quality_gain = risk.min_quality_gain
            message.on_risk.max_age_ms = risk.max_age_ns // _NS_A_MS
        case _:
            assert_never(terms.policy)
    return message


def _policy(message: session_pb2.TrackOptions) -> EmbedPolicy:
    match message.WhichOneof("embed"):
        case "at_intervals":
            asked = message.at_intervals
            return AtIntervals(
                frames=asked.frames if asked.HasField("frames") else None,
                interval_ns=asked.milliseconds * _NS_A_MS if asked.HasField("milliseconds") else None,
            )
        case "on_risk":
            return _on_risk(message.on_risk)
        case "once":
            return Once()
        case _:
            return EveryFrame()


def _on_risk(asked: session_pb2.EmbedOnRisk) -> OnRisk:
    usual = OnRisk()

    given = {field.name for field, _ in asked.ListFields()}

    def number(name: str) -> float:
        return float(getattr(asked, name)) if name in given else single(getattr(usual, name))

    return OnRisk(
        max_overlap=number("max_overlap"),
        max_size_ratio=number("max_size_ratio"),
        max_shift=number("max_shift"),
        min_quality_gain=number("min_quality_gain"),
        max_age_ns=asked.max_age_ms * _NS_A_MS if asked.HasField("max_age_ms") else usual.max_age_ns,
    )


def _snapshot(
    field: str, message: frame_pb2.TrackSnapshot, by_name: Mapping[str, ServedModel], now_ns: int
) -> Snapshot:
    """`field`: names it in an error. Raises CallRefused."""
    model: ServedModel | None = None
    rows: Sum | None = None
    if message.count:
        model = _model(field, message.sum, by_name)
        rows = _sum(field, message, model, now_ns)
    elif message.HasField("sum") or message.HasField("latest") or message.HasField("kept"):
        raise InvalidCall(f"{field}.count is 0, but it has rows; set the number of embeddings in its sum")
    last: LastBox | None = None
    if message.HasField("last_box"):
        box = message.last_box
        last = LastBox(rect=(box.x1, box.y1, box.x2, box.y2), taken_ns=now_ns - min(message.last_age_ns, _LONGEST_NS))
    snapshot = Snapshot(track_id=message.track_id, rows=rows, last=last)
    check_snapshot(field, snapshot, model)
    return snapshot


def _model(field: str, block: frame_pb2.EmbeddingBlock, by_name: Mapping[str, ServedModel]) -> ServedModel:
    model = by_name.get(block.model)
    if model is None:
        names = ", ".join(sorted(by_name))
        raise InvalidCall(f"{field}.sum.model is {block.model!r}; the session's models are {names}")
    if block.space_id != model.spec.space_id:
        raise WrongSpace(
            f"{field}.sum has vectors of space {block.space_id}, and model {model.name!r} embeds into "
            f"{model.spec.space_id}; they must not be added up; begin new tracks"
        )
    return model


def _sum(field: str, message: frame_pb2.TrackSnapshot, model: ServedModel, now_ns: int) -> Sum:
    dim = model.spec.output.dim
    (total,) = _rows(f"{field}.sum", message.sum, 1, dim)
    (latest,) = _rows(f"{field}.latest", message.latest, 1, dim)
    kept = _rows(f"{field}.kept", message.kept, len(message.kept_frame_ids), dim)
    if len(message.kept_weights) != len(kept):
        given = f"{len(message.kept_weights)} weights for {len(kept)} rows"
        raise InvalidCall(f"{field}.kept_weights has {given}; each row has one")
    return Sum(
        model=model.index,
        total=total,
        weight=message.weight,
        count=message.count,
        latest=TrackRow(
            vector=latest,
            frame_id=message.latest_frame_id,
            quality=message.latest_quality,
            taken_ns=now_ns - min(message.latest_age_ns, _LONGEST_NS),
        ),
        kept=tuple(
            KeptRow(vector=row, frame_id=frame_id, weight=weight)
            for row, frame_id, weight in zip(kept, message.kept_frame_ids, message.kept_weights, strict=True)
        ),
        first_frame_id=message.first_frame_id,
        last_frame_id=message.last_frame_id,
    )


def _rows(field: str, block: frame_pb2.EmbeddingBlock, count: int, dim: int) -> list[Embeddings]:
    """Each in an array of its own: a view would keep the message. Raises InvalidCall."""
    for name, given, right in (
        ("dim", block.dim, dim),
        ("count", block.count, count),
        ("dtype", block.dtype, frame_pb2.EMBEDDING_DTYPE_FLOAT32),
        ("data", len(block.data), 4 * dim * count),
    ):
        if given != right:
            unit = " bytes" if name == "data" else ""
            raise InvalidCall(f"{field}.{name} is {given}{unit}; it must be {right}{unit}")
    rows = np.frombuffer(block.data, "<f4").reshape(count, dim)
    return [np.array(row, np.float32) for row in rows]
