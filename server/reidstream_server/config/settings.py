"""The configuration, and the one table of all settings.

Why one: the server reads the dataclasses below, *and* flags, environment variables, TOML keys, help, documentation and
checks are made from them. A field has a type, a default, and an `About`: its kind with its range, and what it means.

Trap: a field's name is public three times over (--max-queue-boxes, REIDSTREAM_MAX_QUEUE_BOXES, max_queue_boxes), and
names are unique over all groups. Building these classes directly checks nothing; `load_config` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from reidstream_server.logs import LogFormat, LogLevel

from .about import About, Group
from .admin_access import AdminAccess
from .engine_settings import EngineSettings
from .fields import ByteSize, Duration, OneOf, Share, Switch, Text, WholeNumber
from .hosts import PORT, Host
from .model_files import PROFILE_ALLOWED, PROFILE_PATTERN, ModelFile, ModelList
from .paths import FilePath

_KIB, _MIB, _GIB, _TIB = 2**10, 2**20, 2**30, 2**40
_THREADS = WholeNumber(low=0, high=1024, unit="threads")
_WEEK_S = 7 * 24 * 3600.0
_TIMEOUT = Duration(low=0.01, high=3600, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Where the server listens."""

    host: Annotated[
        str,
        About(
            kind=Host(flag="--host", port_flag="--port"),
            help="Address to serve gRPC on; 0.0.0.0 or :: for every interface.",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, About(kind=PORT, help="Port to serve gRPC on; 0 takes any free one and prints it.")] = 50051
    accept_compression: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Read compressed gRPC messages; without it a call that sends one ends with UNIMPLEMENTED. Pictures "
            "hardly shrink, and 64 KiB may inflate to a message of the largest size.",
        ),
    ] = False
    http_host: Annotated[
        str,
        About(kind=Host(flag="--http-host", port_flag="--http-port"), help="Address to serve HTTP on."),
    ] = "127.0.0.1"
    http_port: Annotated[
        int | None,
        About(
            kind=PORT,
            help="Port to serve HTTP on: POST /embed, and /docs for a browser; 0 takes any free one and prints it. "
            "Default: no HTTP. It needs pip install 'reidstream-server[http]'.",
        ),
    ] = None
    kserve: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Serve the open inference protocol (KServe v2, as Triton speaks it) as well: on the gRPC port, and on "
            "the HTTP port if there is one.",
        ),
    ] = False
    metrics_enabled: Annotated[
        bool, About(kind=Switch(), help="Serve Prometheus metrics and the probes /healthz and /readyz over HTTP.")
    ] = True
    metrics_host: Annotated[
        str,
        About(
            kind=Host(flag="--metrics-host", port_flag="--metrics-port"),
            help="Address to serve metrics and probes on.",
        ),
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int, About(kind=PORT, help="Port to serve metrics and probes on; 0 takes any free one and prints it.")
    ] = 9464
    rpc_metrics: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Also serve how long calls took, by method and status, under the name of OpenTelemetry's conventions: "
            "rpc_server_call_duration_seconds.",
        ),
    ] = False
    triton_metrics: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Also serve what models did, under the names that Triton's metrics have: nv_inference_request_success "
            "and others.",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """Who can call. The port of the metrics has none of this: see `metrics_host`."""

    tls_cert_file: Annotated[
        Path | None,
        About(kind=FilePath(), help="The server's certificate in PEM, intermediate ones after it. With it, TLS only."),
    ] = None
    tls_key_file: Annotated[
        Path | None, About(kind=FilePath(), help="The key of that certificate in PEM, without a password.")
    ] = None
    tls_client_ca_file: Annotated[
        Path | None,
        About(
            kind=FilePath(),
            help="Certificates in PEM that sign clients' certificates. With it, a client without one cannot connect, "
            "health checks included; its identity is the name in it.",
        ),
    ] = None
    tokens_file: Annotated[
        Path | None,
        About(
            kind=FilePath(),
            help="Clients' names and the SHA-256 of their tokens, one a line. With it, calls need a token; health and "
            "reflection do not. It is read again when it changes.",
        ),
    ] = None
    admin: Annotated[
        AdminAccess,
        About(
            kind=OneOf(members=AdminAccess),
            help="Who may see the figures, names and addresses of all sessions (reidstream-client top): off, nobody; "
            "loopback, callers on this machine; clients, every client, and then clients need tokens or certificates. "
            "A caller on this machine needs a token too, where there are tokens.",
        ),
    ] = AdminAccess.LOOPBACK
    insecure: Annotated[
        bool, About(kind=Switch(), help="Serve other machines without TLS: frames and tokens can be read on the way.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What the server accepts and holds. Clients see most of it in SessionOpened and GetModel."""

    max_message_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=4 * _KIB, high=_GIB),
            help="Largest message that is read. A raw BGR frame is width * height * 3: 1080p is 5.9 MiB, 4K 23.7 MiB.",
        ),
    ] = 64 * _MIB
    max_image_pixels: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=1_000_000_000, unit="pixels"),
            help="Largest image, checked from its header before it is decoded. The default takes 8K (7680 x 4320).",
        ),
    ] = 40_000_000
    max_boxes_per_frame: Annotated[
        int, About(kind=WholeNumber(low=1, high=100_000, unit="boxes"), help="Most boxes, or ready crops, in a frame.")
    ] = 1000
    min_box_px: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=4096, unit="pixels"), help="A box that is less wide or high is not embedded."
        ),
    ] = 1
    max_window_frames: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=4096, unit="frames"),
            help="The largest window of a session, in unanswered frames.",
        ),
    ] = 64
    max_window_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=4 * _KIB, high=_TIB),
            help="The largest window of a session, in bytes of unanswered frames.",
        ),
    ] = 256 * _MIB
    default_window_frames: Annotated[
        int,
        About(kind=WholeNumber(low=1, high=4096, unit="frames"), help="The window of a session that asks for none."),
    ] = 16
    max_receiving_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=8 * _KIB, high=_TIB),
            help="The most bytes of messages that have not come whole, of all clients together. Above it, the "
            "connections that hold most of them are ended.",
        ),
    ] = 512 * _MIB
    max_queue_boxes: Annotated[
        int,
        About(
            kind=WholeNumber(low=2, high=10_000_000, unit="boxes"),
            help="The most boxes, of all sessions together, that are admitted and not answered yet.",
        ),
    ] = 8192
    max_queue_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=8 * _KIB, high=_TIB), help="The most bytes of received messages that wait to be decoded."
        ),
    ] = 512 * _MIB
    max_parked_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=8 * _KIB, high=_TIB),
            help="The most bytes of received messages that wait for room in the queue; beyond it, even the frame of a "
            "client that waits is refused.",
        ),
    ] = 512 * _MIB
    max_staged_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=4 * _KIB, high=_TIB),
            help="The most bytes of decoded frames at a time; other frames wait.",
        ),
    ] = 512 * _MIB
    max_answer_bytes: Annotated[
        int, About(kind=ByteSize(low=_KIB, high=_GIB), help="Largest answer to a frame, in bytes of embeddings.")
    ] = 16 * _MIB
    max_held_answer_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=2 * _KIB, high=_TIB),
            help="The most bytes of embeddings of admitted frames whose answers are not written yet.",
        ),
    ] = 256 * _MIB
    max_sessions: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=100_000, unit="sessions"),
            help="The most open sessions at a time. One client gets at most half of them, so that there is room for "
            "another.",
        ),
    ] = 512
    max_sessions_per_client: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=100_000, unit="sessions"),
            help="The most open sessions of one client; where nothing tells clients apart, of one connection. Half of "
            "--max-sessions if that is less.",
        ),
    ] = 256
    max_calls: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=100_000, unit="calls"),
            help="The most calls with a single answer that are in progress at a time. One client gets at most half of "
            "them, so that there is room for another.",
        ),
    ] = 512
    max_tracks_per_session: Annotated[
        int,
        About(
            kind=WholeNumber(low=0, high=65_536, unit="tracks"),
            help="The most open tracks of a session that asks for a memory of tracks. Above it, the track "
            "without a box for longest ends. 0: no session gets one.",
        ),
    ] = 512
    max_track_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=64 * _KIB, high=_TIB),
            help="The most bytes of tracks, of all sessions together; a quarter of it is for answers with cached "
            "vectors. One session gets at most half of what others leave.",
        ),
    ] = 256 * _MIB
    shared_memory: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Let clients on this machine leave raw frames in memory that they share, instead of sending them.",
        ),
    ] = True
    max_shared_memory_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=64 * _KIB, high=_TIB),
            help="How much of its shared memory a session may use. It is the client's memory, not the server's.",
        ),
    ] = 512 * _MIB
    kserve_shared_memory: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Let programs on this machine name their own files in /dev/shm in the place of tensors (system shared "
            "memory of --kserve). Not behind a proxy on this machine: whoever is behind it would count as the proxy.",
        ),
    ] = False
    max_kserve_region_bytes: Annotated[
        int,
        About(
            kind=ByteSize(low=128 * _KIB, high=_TIB),
            help="The most bytes of such memory (regions) that clients may register, all together; one client gets at "
            "most half.",
        ),
    ] = 512 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulingSettings:
    """Who is served when, and how long anything may take."""

    linger_ms: Annotated[
        float,
        About(
            kind=Duration(low=0, high=1000, unit="ms"),
            help="How long a batch may wait to fill, from its first crop on. 0: a free engine starts at once.",
        ),
    ] = 0.0
    aging_ms: Annotated[
        float,
        About(
            kind=Duration(low=1, high=60_000, unit="ms"),
            help="A crop of lower priority that has waited longer gets a share of the batches.",
        ),
    ] = 1000.0
    quantum_boxes: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=1024, unit="boxes"),
            help="How many boxes a camera may have in its turn. Fewer share more evenly between cameras; more keep a "
            "frame together.",
        ),
    ] = 8
    max_client_turns: Annotated[
        int,
        About(
            kind=WholeNumber(low=1, high=100_000, unit="cameras"),
            help="So many cameras of one client have a turn in each round; where nothing tells clients apart, of one "
            "connection. If it has more, they share these turns.",
        ),
    ] = 8
    batch_timeout_s: Annotated[
        float, About(kind=_TIMEOUT, help="If a batch takes longer, its engine is lost and the process ends.")
    ] = 60.0
    staging_timeout_s: Annotated[
        float,
        About(
            kind=_TIMEOUT,
            help="A frame whose pictures take longer to decode is answered with an error, and its client is not read "
            "for some seconds.",
        ),
    ] = 30.0
    stall_timeout_s: Annotated[
        float, About(kind=_TIMEOUT, help="A client that reads no answer for longer is disconnected.")
    ] = 30.0
    open_timeout_s: Annotated[
        float, About(kind=_TIMEOUT, help="A stream is ended if its first message takes longer.")
    ] = 10.0
    receive_timeout_s: Annotated[
        float,
        About(kind=_TIMEOUT, help="A call with a single answer is ended if its message takes longer to arrive."),
    ] = 10.0
    idle_timeout_s: Annotated[
        float,
        About(
            kind=Duration(low=0, high=_WEEK_S, unit="s"),
            help="A session that has sent no frame for so long, and waits for no answer, is asked to leave. 0: never.",
        ),
    ] = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleSettings:
    """Start and stop."""

    drain_timeout_s: Annotated[
        float,
        About(
            kind=Duration(low=0, high=3600, unit="s"),
            help="After SIGTERM, how long accepted frames may take to be answered before the process exits.",
        ),
    ] = 20.0
    max_connection_age_s: Annotated[
        float,
        About(
            kind=Duration(low=0, high=_WEEK_S, unit="s"),
            help="After this time, and up to a fifth more, the server asks a stream to leave and to come back on a new "
            "connection, so that load balancers can move it. Accepted frames are answered within --drain-timeout-s. 0: "
            "never.",
        ),
    ] = 0.0
    dry_run: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Check files and ports, load, warm up and self-test as a start does, print every setting, and exit.",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, to stderr."""

    log_level: Annotated[LogLevel, About(kind=OneOf(members=LogLevel), help="The least severe events to log.")] = (
        LogLevel.INFO
    )
    log_format: Annotated[
        LogFormat, About(kind=OneOf(members=LogFormat), help="One event a line: text for people, json for programs.")
    ] = LogFormat.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """Which frames are traced, and where their spans go. Off unless an endpoint is given."""

    tracing_endpoint: Annotated[
        str | None,
        About(
            kind=Text(
                pattern=r"https?://[^\s/@?#]+/?",
                allowed="http://HOST:PORT or https://HOST:PORT",
                metavar="URL",
            ),
            help="Send traces of frames to this OpenTelemetry collector, by OTLP over gRPC, such as "
            "http://localhost:4317. Without it, OTEL_EXPORTER_OTLP_ENDPOINT counts; without both, nothing is traced.",
        ),
    ] = None
    tracing_ratio: Annotated[
        float | None,
        About(
            kind=Share(),
            help="The share of frames that are traced where their client does not decide. Without it, "
            "OTEL_TRACES_SAMPLER counts; without both, it is 0.01.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The whole configuration. `ServerConfig()` is the default.

    `models` empty: the embedded default model. `profile` is applied to the models already, and is only kept to be
    shown.
    """

    models: Annotated[
        tuple[ModelFile, ...],
        About(
            kind=ModelList(),
            flag="model",
            help="An ONNX file to serve, and the name that clients use for it (default: the file's stem). May "
            "be repeated. The first is the default model. None: the embedded default model.",
        ),
    ] = ()
    profile: Annotated[
        str | None,
        About(
            kind=Text(pattern=PROFILE_PATTERN, allowed=PROFILE_ALLOWED, metavar="NAME"),
            help="The preprocessing, such as torchreid, of every model that does not name its own. Without it, the "
            "spec comes from the TOML file beside the model or from its metadata.",
        ),
    ] = None
    listen: Annotated[ListenSettings, Group(title="Addresses", help="Where the server listens.")] = field(
        default_factory=ListenSettings
    )
    security: Annotated[
        SecuritySettings, Group(title="Security", help="Who can call, and how the server knows it.")
    ] = field(default_factory=SecuritySettings)
    engine: Annotated[EngineSettings, Group(title="Engine", help="How models are run.")] = field(
        default_factory=EngineSettings
    )
    limits: Annotated[
        LimitSettings,
        Group(title="Limits", help="What the server accepts and holds. Clients get the bounds that concern them."),
    ] = field(default_factory=LimitSettings)
    scheduling: Annotated[
        SchedulingSettings, Group(title="Scheduling", help="Who is served when, and how long anything may take.")
    ] = field(default_factory=SchedulingSettings)
    lifecycle: Annotated[LifecycleSettings, Group(title="Lifecycle", help="Start and stop.")] = field(
        default_factory=LifecycleSettings
    )
    log: Annotated[LogSettings, Group(title="Logs", help="What is logged, to stderr.")] = field(
        default_factory=LogSettings
    )
    tracing: Annotated[
        TracingSettings,
        Group(title="Tracing", help="Traces of frames, for OpenTelemetry; needs reidstream-server[tracing]."),
    ] = field(default_factory=TracingSettings)
