"""The configuration of the server: one frozen object from flags, environment and a TOML file, checked as a whole."""

from reidstream_server.errors import ConfigError

from .engine_settings import EngineSettings
from .load import load_config
from .model_files import ModelFile
from .render import changed_settings, redacted, render_markdown
from .settings import (
    LifecycleSettings,
    LimitSettings,
    ListenSettings,
    LogSettings,
    SchedulingSettings,
    SecuritySettings,
    ServerConfig,
    TracingSettings,
)
from .sources import Unread, unread_variables

__all__ = [
    "ConfigError",
    "EngineSettings",
    "LifecycleSettings",
    "LimitSettings",
    "ListenSettings",
    "LogSettings",
    "ModelFile",
    "SchedulingSettings",
    "SecuritySettings",
    "ServerConfig",
    "TracingSettings",
    "Unread",
    "changed_settings",
    "load_config",
    "redacted",
    "render_markdown",
    "unread_variables",
]
