"""Track options on the wire, both ways: what is asked for, and what was agreed.

Trap: the wire counts milliseconds, and its fields that are absent are not zero: they are the server's defaults, which
come back with what was agreed.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import assert_never

from reidstream_proto.v1 import session_pb2

from .choices import (
    EmbedAtIntervals,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    EmbedPolicy,
    TrackOptions,
    TrackVector,
)


def track_message(options: TrackOptions) -> session_pb2.TrackOptions:
    """What is asked for."""
    message = session_pb2.TrackOptions(
        timeout_ms=_ms(options.timeout_s),
        vector=session_pb2.TrackVector.ValueType(options.vector.value),
        representatives=options.representatives,
    )
    policy = options.embed
    match policy:
        case EmbedEveryFrame():
            message.every_frame.SetInParent()
        case EmbedAtIntervals():
            message.at_intervals.CopyFrom(
                session_pb2.EmbedAtIntervals(frames=policy.frames, milliseconds=_optional_ms(policy.seconds))
            )
        case EmbedOnRisk():
            message.on_risk.CopyFrom(
                session_pb2.EmbedOnRisk(
                    max_overlap=policy.max_overlap,
                    max_size_ratio=policy.max_size_ratio,
                    max_shift=policy.max_shift,
                    min_quality_gain=policy.min_quality_gain,
                    max_age_ms=_optional_ms(policy.max_age_s),
                )
            )
        case EmbedOnce():
            message.once.SetInParent()
        case _:
            assert_never(policy)
    return message


def agreed_tracks(message: session_pb2.TrackOptions) -> TrackOptions:
    """What was agreed. Raises ValueError for what this client does not know."""
    return TrackOptions(
        embed=_policy(message),
        timeout_s=message.timeout_ms / 1000,
        vector=TrackVector(message.vector),
        representatives=message.representatives,
    )


def _policy(message: session_pb2.TrackOptions) -> EmbedPolicy:
    match message.WhichOneof("embed"):
        case "every_frame":
            return EmbedEveryFrame()
        case "at_intervals":
            agreed = message.at_intervals
            return EmbedAtIntervals(
                frames=agreed.frames if agreed.HasField("frames") else None,
                seconds=agreed.milliseconds / 1000 if agreed.HasField("milliseconds") else None,
            )
        case "on_risk":
            risk = message.on_risk
            return EmbedOnRisk(
                max_overlap=_decimal(risk.max_overlap) if risk.HasField("max_overlap") else None,
                max_size_ratio=_decimal(risk.max_size_ratio) if risk.HasField("max_size_ratio") else None,
                max_shift=_decimal(risk.max_shift) if risk.HasField("max_shift") else None,
                min_quality_gain=_decimal(risk.min_quality_gain) if risk.HasField("min_quality_gain") else None,
                max_age_s=risk.max_age_ms / 1000 if risk.HasField("max_age_ms") else None,
            )
        case "once":
            return EmbedOnce()
        case None:
            raise ValueError("it names no policy that this client knows")
        case other:
            assert_never(other)


def _decimal(single: float) -> float:
    """0.3 for the 0.30000001192092896 that half the digits made of it."""
    return float(str(np.float32(single)))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _optional_ms(seconds: float | None) -> int | None:
    return None if seconds is None else _ms(seconds)
