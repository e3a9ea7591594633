"""What each option may be: one rule for each name, whichever method takes it.

`options.read_options` applies them once, to what the caller gave, before anything is opened or sent. After that the
settings are trusted. The options of a *frame* are not here: they are arrays of one length, checked in `frames/`.

Trap: the options are typed as what the rest of the package reads. A program with type checks gives enums; the rules
also take their words, for values that come from files and command lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from reidstream_proto.v1.contract import (
    MAX_CAMERA_ID_BYTES,
    MAX_CLASS_IDS,
    MAX_LATENCY_BUDGET_MS,
    MAX_MODEL_CHOICES,
    MAX_MODEL_NAME_BYTES,
    MAX_SPACE_ID_BYTES,
)

from .checks import (
    between,
    class_ids,
    flag,
    instance,
    member,
    not_negative,
    number,
    seconds,
    several,
    short_text,
    shown,
    unsigned,
)
from .choices import BoxFilter, EmbeddingDtype, ModelChoice, Ordering, OverloadPolicy, Priority, RetryPolicy
from .connection.credentials import TlsOptions
from .connection.grpc_connection import check_keepalive
from .errors import InvalidRequest
from .track_rules import track_options

Rule: TypeAlias = Callable[[str, object], object]

_MIN_BUDGET_S, _MAX_BUDGET_S = 0.001, MAX_LATENCY_BUDGET_MS / 1000
_MOST_MESSAGE_BYTES: Final = 2**31 - 1  # as gRPC counts
_ATTEMPTS_BITS: Final = 63
_CHOICE: Final = 'ModelChoice(name="person", class_ids=(0,))'


def camera_id(name: str, value: object) -> str:
    """Text of the length that the contract allows."""
    return short_text(name, value, MAX_CAMERA_ID_BYTES, least=1)


def model_name(name: str, value: object) -> str:
    """Text of the length that a model's name may have; "" is the default model."""
    return short_text(name, value, MAX_MODEL_NAME_BYTES)


def _space_id(name: str, value: object) -> str:
    return short_text(name, value, MAX_SPACE_ID_BYTES)


def _optional(rule: Rule) -> Rule:
    return lambda name, value: None if value is None else rule(name, value)


def _models(name: str, value: object) -> tuple[ModelChoice, ...]:
    """Choices with their class ids as a tuple of ints."""
    if isinstance(value, ModelChoice):
        raise InvalidRequest(f"{name} must be a list of choices: {name}=[{_CHOICE}, ...]")
    found: list[ModelChoice] = []
    for index, one in enumerate(several(name, value, example=f"[{_CHOICE}, ...]", most=MAX_MODEL_CHOICES)):
        at = f"{name}[{index}]"
        choice = instance(ModelChoice, at, one, example=_CHOICE)
        space_id = choice.expected_space_id
        found.append(
            ModelChoice(
                name=model_name(f"{at}.name", choice.name),
                class_ids=class_ids(f"{at}.class_ids", choice.class_ids),
                expected_space_id=None if space_id is None else _space_id(f"{at}.expected_space_id", space_id),
            )
        )
    classes = sum(len(choice.class_ids) for choice in found)
    if classes > MAX_CLASS_IDS:
        raise InvalidRequest(
            f"{name} must have at most {MAX_CLASS_IDS} class_ids in all choices together, not {classes}"
        )
    return tuple(found)


def _dtype(name: str, value: object) -> EmbeddingDtype:
    """Also numpy's own: np.float16."""
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        value = np.dtype(value).name
    return member(EmbeddingDtype, name, value)


def _latency_budget(name: str, value: object) -> float:
    found = number(name, value)
    if not _MIN_BUDGET_S <= found <= _MAX_BUDGET_S:
        raise InvalidRequest(
            f"{name}: the latency budget must be {_MIN_BUDGET_S} to {_MAX_BUDGET_S:.0f} s, not {shown(value)}"
        )
    return found


def _box_filter(name: str, value: object) -> BoxFilter:
    given = instance(BoxFilter, name, value, example="BoxFilter(min_height=32)")
    bounds = {
        bound: not_negative(f"{name}.{bound}", size)
        for bound in ("min_width", "min_height", "max_width", "max_height", "min_score")
        if (size := getattr(given, bound)) is not None
    }
    return replace(given, **bounds, class_ids=class_ids(f"{name}.class_ids", given.class_ids))


def _retry(name: str, value: object) -> RetryPolicy:
    given = instance(RetryPolicy, name, value, example="RetryPolicy(attempts=1), which repeats nothing")
    return RetryPolicy(
        attempts=unsigned(f"{name}.attempts", given.attempts, _ATTEMPTS_BITS),
        first_s=not_negative(f"{name}.first_s", given.first_s),
        cap_s=not_negative(f"{name}.cap_s", given.cap_s),
    )


def _tls(name: str, value: object) -> TlsOptions:
    return instance(TlsOptions, name, value, example='TlsOptions(ca_file="ca.pem")')


def _token(name: str, value: object) -> str:
    """Never shown, not even where it is wrong."""
    if not isinstance(value, str):
        advice = "; .decode() gives its text" if isinstance(value, bytes) else ""
        path = "; read the file: path.read_text().strip()" if isinstance(value, os.PathLike) else ""
        raise InvalidRequest(f"{name} must be text, not {type(value).__name__}{advice}{path}")
    return value


def _keepalive(name: str, value: object) -> float:
    found = number(name, value)
    check_keepalive(found)
    return found


def _connect(name: str, value: object) -> object:
    if not callable(value):
        raise InvalidRequest(
            f"{name} must be a function that takes the target and returns a connection, such as server.connect of "
            f"reidstream_client.testing, not {shown(value)}"
        )
    return value


def _tracing(name: str, value: object) -> object:
    if isinstance(value, type) or not callable(getattr(value, "begin", None)):
        raise InvalidRequest(
            f"{name} must be something that begins spans: {name}=OpenTelemetryTracing(), not {shown(value)}"
        )
    return value


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "camera_id": _optional(camera_id),
        "model": _optional(model_name),
        "expected_space_id": _optional(_space_id),
        "models": _models,
        "priority": lambda name, value: member(Priority, name, value),
        "latency_budget_s": _optional(_latency_budget),
        "dtype": _dtype,
        "box_filter": _optional(_box_filter),
        "apply_exif_orientation": flag,
        "timeout_s": seconds,
        "max_message_bytes": lambda name, value: between(name, value, 1, _MOST_MESSAGE_BYTES),
        "retry": _optional(_retry),
        "tls": _optional(_tls),
        "token": _optional(_token),
        "keepalive_s": _optional(_keepalive),
        "connect": _optional(_connect),
        "tracing": _optional(_tracing),
        "ordering": lambda name, value: member(Ordering, name, value),
        "overload_policy": lambda name, value: member(OverloadPolicy, name, value),
        "window_frames": lambda name, value: unsigned(name, value, 32),
        "window_bytes": lambda name, value: unsigned(name, value, 64),
        "answer_timeout_s": seconds,
        "budget_grace_s": not_negative,
        "shared_memory": flag,
        "tracks": _optional(track_options),
        "give_up_after_s": seconds,
    }
)
