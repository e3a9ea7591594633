"""What the subcommands share: which model is meant, and how facts about it are printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reidstream_engines import default_model
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.protocol import EngineInfo
from reidstream_engines.spec import ModelSpec

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """The model that a command is about. `name` None: the file's. `profile` None: what is beside the file or in it."""

    path: Path
    name: str | None = None
    profile: str | None = None

    def load(self, options: OnnxOptions) -> OnnxEngine:
        """Raises what `load_onnx` raises."""
        return load_onnx(self.path, name=self.name, profile=self.profile, options=options)


def meant(model: str, profile: str | None) -> Meant:
    """The embedded model for the word `default`; else the file of that path."""
    if model == DEFAULT:
        return Meant(path=default_model.PATH, name=default_model.NAME, profile=profile)
    return Meant(path=Path(model), profile=profile)


def say_what_is_set_aside(spec: ModelSpec) -> None:
    """What a named profile replaces; on stderr, so that it is seen whatever is done with the output."""
    if spec.set_aside:
        print(f"note: {spec.set_aside}", file=sys.stderr)


def print_fields(fields: Mapping[str, str]) -> None:
    """One line for each, names and values in columns."""
    for key, value in fields.items():
        print(f"{key:<12} {value}")


def engine_text(info: EngineInfo) -> str:
    """What runs a model, in words."""
    text = f"{info.engine} on {info.device}, {info.precision}"
    return f"{text} (fallback: {info.fallback_reason})" if info.fallback_reason else text
