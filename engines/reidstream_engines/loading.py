"""From a model file to an engine that serves it.

Why one function: the order matters. The file is opened first, its spec is resolved against what the network really has,
and a profile that cannot be exact here is refused before a single crop is taken.
"""

from __future__ import annotations

from pathlib import Path

from .cpu.network import OnnxOptions, OnnxRuntimeSession, open_session
from .cpu.onnx_engine import OnnxEngine
from .spec_source import read_signature, resolve_spec


def load_onnx(path: Path, *, name: str | None, profile: str | None, options: OnnxOptions) -> OnnxEngine:
    """Load an ONNX file. `name` None: from the file; `profile` None: from the file's metadata or the TOML beside it.

    Raises ModelError (missing, not ONNX, a provider that is not there), SpecError (no spec, or one that does not fit
    the network) and UnsupportedProfile (the preprocessing cannot be exact here; says what to install).
    """
    session = open_session(path, options)
    spec = resolve_spec(path=path, signature=read_signature(session), name=name, profile=profile)
    return OnnxEngine(OnnxRuntimeSession(session, spec, options.providers), spec, options)
