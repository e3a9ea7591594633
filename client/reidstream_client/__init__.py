"""The edge client of reidstream: numpy in, numpy out.

`ReidClient` for programs without asyncio, `AsyncReidClient` for those with it; `embed` for one frame, `stream` for a
camera. Everything public is named here; a test holds `__all__` to it.
"""

from .aio import AsyncReidClient, Ping
from .aio_session import AsyncSession
from .boxes import from_cxcywh, from_ltwh
from .connection import Health
from .credentials import TlsOptions
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
    UnreadAnswers,
)
from .images import ColorMatrix, ColorRange, Crops, Nv12, PixelFormat, RawFrame
from .ledger import LedgerStatistics
from .models import AgreedModel, EngineInfo, InputSpec, Limits, ModelInfo, ModelSummary, OutputSpec
from .opening import SessionInfo
from .options import BoxFilter, EmbeddingDtype, ModelChoice, Ordering, OverloadPolicy, Priority, RetryPolicy
from .resuming import ResumingSession
from .sync import FrameInput, ReidClient
from .sync_session import Session
from .types import ErrorReason, FrameEmbeddings, FrameFailure, ModelEmbeddings, Outcome, Timing

__all__ = [
    "AgreedModel",
    "AsyncReidClient",
    "AsyncSession",
    "BoxFilter",
    "CallRejected",
    "CallTimeout",
    "ColorMatrix",
    "ColorRange",
    "Crops",
    "EmbeddingDtype",
    "EngineInfo",
    "ErrorReason",
    "FileError",
    "FrameEmbeddings",
    "FrameFailure",
    "FrameInput",
    "FrameTooLarge",
    "Health",
    "InputSpec",
    "InvalidRequest",
    "LedgerStatistics",
    "Limits",
    "MissingExtra",
    "ModelChoice",
    "ModelEmbeddings",
    "ModelInfo",
    "ModelNotFound",
    "ModelSummary",
    "Nv12",
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
    "RetryPolicy",
    "ServerFault",
    "ServerUnavailable",
    "Session",
    "SessionDrained",
    "SessionEnded",
    "SessionInfo",
    "SeveralModels",
    "SpaceMismatch",
    "StaleEpoch",
    "Timing",
    "TlsOptions",
    "UnreadAnswers",
    "from_cxcywh",
    "from_ltwh",
]
