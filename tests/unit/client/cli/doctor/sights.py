"""What doctor may have seen, as a test wants it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reidstream_client import AgreedModel, FrameEmbeddings, ModelEmbeddings, Outcome, ServerSessions, Timing
from reidstream_client.choices import EmbeddingDtype, Ordering, OverloadPolicy, Priority
from reidstream_client.cli.doctor.finding import Finding
from reidstream_client.cli.doctor.gather.exposition import parse
from reidstream_client.cli.doctor.judge.everything import judge
from reidstream_client.cli.doctor.seen import (
    Asked,
    Attempt,
    Calls,
    Clock,
    Frames,
    Look,
    Names,
    Operators,
    Port,
    Reach,
    Seen,
    Speaks,
)
from reidstream_client.connection.protocols import Health
from reidstream_client.models import EngineInfo, InputSpec, Limits, ModelInfo, ModelSummary, OutputSpec
from reidstream_client.session.opening import SessionInfo
from tests.unit.client.cli.top.figures import QUIET, SERVER

NOW_S = 1_800_000_000.0
VERSION = SERVER.version
ASKED = Asked(target="gate:50051", version=VERSION, timeout_s=5)
MODEL = ModelSummary(name="person", version="0" * 12, space_id="1:a", dim=4, is_default=True, ready=True)
LIMITS = Limits(
    max_message_bytes=1 << 24,
    max_image_pixels=1 << 24,
    max_boxes_per_frame=100,
    min_box_px=1,
    max_window_frames=16,
    max_window_bytes=1 << 26,
    max_queue_boxes=100,
    max_queue_bytes=1 << 26,
    max_staged_bytes=1 << 26,
    max_answer_bytes=1 << 20,
    max_sessions=8,
    max_shared_memory_bytes=0,
)
INFO = ModelInfo(
    model=MODEL,
    profile="torchreid",
    input=InputSpec(
        name="input",
        width=128,
        height=256,
        color_order="rgb",
        resize="opencv_bilinear",
        fit="stretch",
        crop_rule="exact",
        scale=1.0,
        mean=(0.0,),
        std=(1.0,),
    ),
    output=OutputSpec(name="output", dim=4, l2_normalize=True),
    engine=EngineInfo(engine="onnxruntime", device="cpu", precision="fp32", fallback_reason="", max_batch=8),
    artifact_sha256="0" * 64,
    limits=LIMITS,
)
AGREED = AgreedModel(name="person", version="0" * 12, dim=4, space_id="1:a")
OPENED = SessionInfo(
    session_id=b"",
    models=(AGREED,),
    window_frames=16,
    window_bytes=1 << 26,
    limits=LIMITS,
    priority=Priority.NORMAL,
    ordering=Ordering.IN_ORDER,
    overload_policy=OverloadPolicy.WAIT,
    dtype=EmbeddingDtype.FLOAT32,
    latency_budget_s=None,
)
TIMING = Timing(decoded_s=0.004, first_batch_started_s=0.004, last_batch_ended_s=0.009, sent_s=0.01, round_trip_s=0.012)
CALLS = Calls(
    health=Health.SERVING,
    models=(MODEL,),
    info=INFO,
    sessions=ServerSessions(server=SERVER, sessions=(QUIET,)),
    clock=Clock(ahead_s=0.1, within_s=0.01),
    pings=(0.001,) * 16,
)


def answer(timing: Timing = TIMING) -> FrameEmbeddings:
    """To a frame of four boxes."""
    return FrameEmbeddings(
        frame_id=0,
        outcomes=(Outcome.EMBEDDED,) * 4,
        valid=np.ones(4, np.bool_),
        quality=np.ones(4, np.float32),
        source_frame_ids=np.zeros(4, np.uint64),
        source_ages_s=np.zeros(4),
        blocks=(ModelEmbeddings(model=AGREED, embeddings=np.eye(4, dtype=np.float32), valid=np.ones(4, np.bool_)),),
        timing=timing,
    )


FRAMES = Frames(
    raw_bytes=6_220_946,
    embed=answer(),
    embed_bytes=6_220_946,
    opened=OPENED,
    answers=(answer(),) * 8,
    own=replace(QUIET, number=2, camera_id="reidstream-doctor"),
)
WELL = """\
reidstream_cores 2
reidstream_core_busy_seconds_total{work="staging"} 1
reidstream_core_busy_seconds_total{work="aside"} 1
reidstream_event_loop_cpu_seconds_total 1
reidstream_full_windows 0
reidstream_paused_clients 0
reidstream_private_memory_bytes 1
reidstream_private_memory_limit_bytes 10
process_open_fds 10
process_max_fds 1024
reidstream_self_test_cosine{model="person"} 0.99999
reidstream_engine_fallback{model="person"} 0
reidstream_batch_faults_total{model="person"} 0
reidstream_log_lines_dropped_total 0
reidstream_admission_refusals_total{bound="boxes"} 5
reidstream_calls_refused_total{reason="too_many_calls"} 0
reidstream_calls_refused_total{reason="unknown_model"} 0
reidstream_frames_total{outcome="answered"} 100
reidstream_frames_total{outcome="over_budget"} 3
reidstream_model_info{model="person",space_id="1:a",version="x"} 1
reidstream_build_info{version="1.2.3"} 1
reidstream_tls_certificate_expiry_timestamp_seconds 1900000000
"""


def operators(*pages: str, every_s: float = 10.0, **fields: Any) -> Operators:
    """Metrics that were looked at every ten seconds."""
    looks = tuple(Look(at_s=every_s * place, samples=parse(page)) for place, page in enumerate(pages))
    return Operators(url="http://gate:9464/metrics", **{"alive": "", "ready": "", "looks": looks, **fields})


def changed(*changes: tuple[str, str], page: str = WELL) -> str:
    """A page with other values: each change is a series with its labels, and its value."""
    for series, value in changes:
        assert f"\n{series} " in f"\n{page}", series
        page = "\n".join(f"{series} {value}" if line.startswith(f"{series} ") else line for line in page.split("\n"))
    return page


SEEN = Seen(
    asked=ASKED,
    now_unix_s=NOW_S,
    names=Names(host="gate", addresses=("10.0.0.7",)),
    attempts=(Attempt(address="10.0.0.7", port=50051, reach=Reach.OPEN),),
    port=Port(speaks=Speaks.GRPC),
    calls=CALLS,
    frames=FRAMES,
    operators=operators(WELL, WELL),
)


def findings(seen: Seen) -> dict[str, Finding]:
    """By their checks."""
    return {finding.check: finding for finding in judge(seen)}
