"""The client's own closed sets against the contract, and its public surface."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import grpc
import pytest

import reidstream_client
from reidstream_client import (
    ColorMatrix,
    ColorRange,
    EmbeddingDtype,
    ErrorReason,
    Ordering,
    Outcome,
    OverloadPolicy,
    PixelFormat,
    Priority,
    ReidError,
    TrackEndCause,
    TrackVector,
    public,
)
from reidstream_client.errors import ERROR_OF_STATUS
from reidstream_proto.v1 import frame_pb2, image_pb2, session_pb2

MIRRORS: Sequence[tuple[type[Enum], dict[str, int], str]] = [
    (Outcome, dict(frame_pb2.Outcome.items()), "OUTCOME_"),
    (ErrorReason, dict(frame_pb2.ErrorReason.items()), "ERROR_REASON_"),
    (EmbeddingDtype, dict(frame_pb2.EmbeddingDtype.items()), "EMBEDDING_DTYPE_"),
    (Priority, dict(session_pb2.Priority.items()), "PRIORITY_"),
    (Ordering, dict(session_pb2.Ordering.items()), "ORDERING_"),
    (OverloadPolicy, dict(session_pb2.OverloadPolicy.items()), "OVERLOAD_POLICY_"),
    (TrackVector, dict(session_pb2.TrackVector.items()), "TRACK_VECTOR_"),
    (TrackEndCause, dict(session_pb2.TrackEndCause.items()), "TRACK_END_CAUSE_"),
    (ColorMatrix, dict(image_pb2.ColorMatrix.items()), "COLOR_MATRIX_"),
    (ColorRange, dict(image_pb2.ColorRange.items()), "COLOR_RANGE_"),
]


@pytest.mark.parametrize(("ours", "wire", "prefix"), MIRRORS, ids=lambda value: getattr(value, "__name__", ""))
def test_our_enums_are_the_wires(ours: type[Enum], wire: dict[str, int], prefix: str) -> None:
    """Same names, same numbers; what is the client's own is negative."""
    said = {name.removeprefix(prefix): value for name, value in wire.items() if value}
    assert {member.name: member.value for member in ours if member.value > 0} == said


def test_pixel_formats_are_the_wires() -> None:
    """NV12 has a class of its own; those below 0 are converted before they are sent."""
    said = {name.removeprefix("PIXEL_FORMAT_"): value for name, value in image_pb2.PixelFormat.items() if value}
    del said["NV12"]
    assert {member.name: member.value for member in PixelFormat if member.value > 0} == said


def test_every_status_but_ok_has_an_error() -> None:
    """One table, and it is complete."""
    assert set(ERROR_OF_STATUS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_the_public_surface_is_what_all_says() -> None:
    """Whatever the package imports from its modules is public and named, sorted, and nothing else is."""
    source = Path(public.__file__).read_text(encoding="utf-8")
    imported = [
        alias.name for node in ast.parse(source).body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(imported) == sorted(reidstream_client.__all__)
    assert reidstream_client.__all__ == sorted(set(reidstream_client.__all__))
    for name in reidstream_client.__all__:
        assert getattr(reidstream_client, name).__doc__


def test_every_error_is_public_and_drawn() -> None:
    """The tree in the docstring shows all of them."""
    errors = reidstream_client.errors
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ReidError)]
    for kind in kinds:
        assert kind.__name__ in reidstream_client.__all__
        assert f" {kind.__name__}" in (errors.__doc__ or "")
