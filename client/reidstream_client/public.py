"""Everything that is public but the fake server. Import it from `reidstream_client`; a test holds `__all__` to it."""

from .admin import Budget, ModelLoad, OpenFrame, OpenSession, ServerSessions, ServerState, SessionDetail
from .aio import AsyncReidClient
from .choices import BoxFilter, EmbeddingDtype, ModelChoice, Ordering, OverloadPolicy, Priority, RetryPolicy
from .connection.credentials import TlsOptions
from .connection.protocols import Health, Ping
from .errors import (
    CallRejected,
    CallTimeout,
    FileError,
    FrameTooLarge,
    InvalidRequest,
    MissingExtra,
    ModelNotFound,
    Overloaded,
    ProtocolFault,
    ReidError,
    ServerFault,
    ServerUnavailable,
    SessionDrained,
    SessionEnded,
    SeveralModels,
    SpaceMismatch,
    StaleEpoch,
    UnknownOption,
    UnreadAnswers,
    WrongPlace,
)
from .frames.boxes import from_cxcywh, from_ltwh
from .frames.images import ColorMatrix, ColorRange, Crops, Nv12, PixelFormat, RawFrame
from .models import AgreedModel, EngineInfo, InputSpec, Limits, ModelInfo, ModelSummary, OutputSpec
from .options import CallOptions, ClientOptions, FrameInput, FrameOptions, ResumingStreamOptions, StreamOptions
from .session.async_session import AsyncSession
from .session.ledger import LedgerStatistics
from .session.opening import SessionInfo
from .session.resuming import ResumingSession
from .session.sync_session import Session
from .sync import ReidClient
from .tracing import FrameFacts, FrameSpan, FrameTracing, OpenTelemetryTracing, TraceHeaders
from .types import ErrorReason, FrameEmbeddings, FrameFailure, ModelEmbeddings, Outcome, Timing

__all__ = [
    "AgreedModel",
    "AsyncReidClient",
    "AsyncSession",
    "BoxFilter",
    "Budget",
    "CallOptions",
    "CallRejected",
    "CallTimeout",
    "ClientOptions",
    "ColorMatrix",
    "ColorRange",
    "Crops",
    "EmbeddingDtype",
    "EngineInfo",
    "ErrorReason",
    "FileError",
    "FrameEmbeddings",
    "FrameFacts",
    "FrameFailure",
    "FrameInput",
    "FrameOptions",
    "FrameSpan",
    "FrameTooLarge",
    "FrameTracing",
    "Health",
    "InputSpec",
    "InvalidRequest",
    "LedgerStatistics",
    "Limits",
    "MissingExtra",
    "ModelChoice",
    "ModelEmbeddings",
    "ModelInfo",
    "ModelLoad",
    "ModelNotFound",
    "ModelSummary",
    "Nv12",
    "OpenFrame",
    "OpenSession",
    "OpenTelemetryTracing",
    "Ordering",
    "Outcome",
    "OutputSpec",
    "OverloadPolicy",
    "Overloaded",
    "Ping",
    "PixelFormat",
    "Priority",
    "ProtocolFault",
    "RawFrame",
    "ReidClient",
    "ReidError",
    "ResumingSession",
    "ResumingStreamOptions",
    "RetryPolicy",
    "ServerFault",
    "ServerSessions",
    "ServerState",
    "ServerUnavailable",
    "Session",
    "SessionDetail",
    "SessionDrained",
    "SessionEnded",
    "SessionInfo",
    "SeveralModels",
    "SpaceMismatch",
    "StaleEpoch",
    "StreamOptions",
    "Timing",
    "TlsOptions",
    "TraceHeaders",
    "UnknownOption",
    "UnreadAnswers",
    "WrongPlace",
    "from_cxcywh",
    "from_ltwh",
]
