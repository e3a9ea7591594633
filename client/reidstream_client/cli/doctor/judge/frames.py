"""Doctor's own frames: do they fit, were they answered, and are their vectors any good?

Limits are those that the server publishes, and what does not fit is said by the client's own rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning, wrong
from reidstream_client.cli.doctor.seen import Frames, Seen, is_lacking
from reidstream_client.errors import ReidError
from reidstream_client.models import ModelInfo
from reidstream_client.session.opening import SessionInfo
from reidstream_client.types import Embeddings, FrameEmbeddings, Outcome

from .words import failed, is_stranger, listed, milliseconds, number, raw_was_late, sentence, silence

NORM_TOLERANCE: Final = 1e-2
"""Vectors may travel as float16."""

SAME_COSINE: Final = 0.999
JPEG_BYTES_PER_PIXEL: Final = 0.5
"""Of a camera's best quality; the page of the client has the measurement."""

_RAISE: Final = "Or raise both limits: the server's --max-message-bytes and the client's max_message_bytes"
_VECTOR: Final = frozenset({Outcome.EMBEDDED, Outcome.CACHED})
_NOT_SENT: Final = "No frame was sent."


def message_size(seen: Seen) -> Finding:
    """A frame of the camera's size is read, raw or at least as JPEG."""
    frames, info = seen.frames, None if seen.calls is None else seen.calls.info
    if frames is None or not isinstance(info, ModelInfo):
        return unseen("message size", silence(seen) or _NOT_SENT)
    width, height = seen.asked.frame_size
    size, limit = f"{width}x{height}", info.limits.max_message_bytes
    camera_bytes = width * height * JPEG_BYTES_PER_PIXEL
    figures = {"raw_bytes": frames.raw_bytes, "max_message_bytes": limit}
    if not frames.too_large:
        return ok("message size", f"A frame of {size} fits, also raw ({number(frames.raw_bytes)} bytes).", **figures)
    told = sentence(f"as raw pixels, {size} does not fit: {frames.too_large.partition(':')[0]}")
    if limit and camera_bytes > limit:
        told += f" A camera's JPEG of that size may have {number(camera_bytes)} bytes."
        return warning("message size", told, f"Send smaller pictures. {_RAISE}.", **figures)
    return warning("message size", told, f"Send the picture encoded. {_RAISE}.", **figures)


def window(seen: Seen) -> Finding:
    """Enough frames may be on their way at a time."""
    frames = seen.frames
    opened = None if frames is None else frames.opened
    if frames is None or not isinstance(opened, SessionInfo):
        return unseen("window", silence(seen) or "No session was opened.")
    told = f"{opened.window_frames} frames and {number(opened.window_bytes)} bytes may be unanswered"
    if frames.raw_bytes > opened.window_bytes and not frames.too_large:
        return warning(
            "window",
            f"{told}; one raw frame has {number(frames.raw_bytes)}, so a stream takes none.",
            "Send the picture encoded, or raise the server's --max-window-bytes.",
        )
    trip_s = _trip_s(seen, frames)
    if trip_s is None:
        return ok("window", f"{told}.")
    fps = opened.window_frames / trip_s
    told += f"; an answer takes {milliseconds(trip_s)}, so {number(fps)} frames a second at most"
    if fps < seen.asked.fps:
        return warning(
            "window",
            f"{told}, of {seen.asked.fps:g}.",
            "Ask for a larger window (window_frames), up to the server's --max-window-frames.",
            fps=fps,
        )
    return ok("window", f"{told}.", fps=fps)


def answered(seen: Seen) -> Finding:
    """Every frame came back, none was given up."""
    frames = seen.frames
    if frames is None:
        return unseen("frames", silence(seen) or _NOT_SENT)
    slow = raw_was_late(frames) and len(frames.answers) > 0
    for answer in (frames.opened, None if slow else frames.embed):
        if isinstance(answer, ReidError):
            if is_lacking(answer) or is_stranger(answer):
                return unseen("frames", "The server does not take them; see above.")
            return failed("frames", seen, answer)
    if frames.broken is not None:
        return failed("frames", seen, frames.broken)
    errors = [answer.error for answer in frames.answers if answer.error is not None]
    if errors:
        reasons = Counter(error.reason.name.lower() for error in errors)
        told = listed([f"{count} {reason}" for reason, count in reasons.items()])
        return wrong(
            "frames",
            f"{len(errors)} of {len(frames.answers)} frames have no vectors ({told}): {sentence(errors[0].message)}",
            "See the reasons of a loss on the page of operation, which has what to do about each.",
        )
    call = "" if slow else "A single call and "
    return ok("frames", f"{call}{len(frames.answers)} frames of a stream were answered.")


def vectors(seen: Seen) -> Finding:
    """What came back can be compared."""
    frames, info = seen.frames, None if seen.calls is None else seen.calls.info
    if frames is None or not isinstance(info, ModelInfo):
        return unseen("vectors", silence(seen) or _NOT_SENT)
    each: list[object] = [*frames.answers, frames.embed]
    answers = [one for one in each if isinstance(one, FrameEmbeddings) and one.error is None]
    if not answers:
        return unseen("vectors", "No frame has any.")
    without = Counter(outcome.name.lower() for one in answers for outcome in one.outcomes if outcome not in _VECTOR)
    if without:
        return wrong(
            "vectors",
            f"Boxes have no vector: {listed([f'{count} {outcome}' for outcome, count in without.items()])}.",
            "Look into the server's log: batch_failed names an engine that fails. too_small: a larger --frame-size.",
        )
    rows = np.concatenate([one.embeddings for one in answers])
    if problem := _problem(rows, info):
        return wrong("vectors", problem, "Do not use these vectors. Look at the server's model and its self-test.")
    if _differ([one.embeddings for one in answers[: len(frames.answers)]]):
        return wrong(
            "vectors",
            "The same picture has different vectors in two frames.",
            "Do not use these vectors: the engine is broken, or several servers with other models are behind this "
            "address.",
        )
    kind = "of length 1" if info.output.l2_normalize else "finite"
    return ok("vectors", f"{len(rows)} vectors of {rows.shape[1]} numbers, {kind}, the same for the same picture.")


def _problem(rows: Embeddings, info: ModelInfo) -> str:
    if rows.shape[1] != info.model.dim:
        return f"Vectors have {rows.shape[1]} numbers, and the model says {info.model.dim}."
    norms = np.linalg.norm(rows, axis=1)
    if info.output.l2_normalize and np.abs(norms - 1).max() > NORM_TOLERANCE:
        return f"Vectors are not normalised: their lengths are {norms.min():.3f} to {norms.max():.3f}, and must be 1."
    return ""


def _differ(streamed: Sequence[Embeddings]) -> bool:
    """Whether a frame's vectors are not those of the first one."""
    first, *others = streamed or [np.zeros((0, 0), np.float32)]
    length = np.linalg.norm(first, axis=1)
    return any(
        ((first * rows).sum(axis=1) < SAME_COSINE * length * np.linalg.norm(rows, axis=1)).any() for rows in others
    )


def _trip_s(seen: Seen, frames: Frames) -> float | None:
    """Of a frame that waits for no other: the way, and the server's part of the stream's first frame."""
    pings = () if seen.calls is None else seen.calls.pings
    first = next((one.timing.sent_s for one in frames.answers if one.timing.sent_s), None)
    return None if first is None or not pings else float(np.median(pings)) + first
