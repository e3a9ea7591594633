"""Makes an engine of an ONNX file.

Why one function: the order matters. The file is opened first, then its spec is compared with the real network, and a
profile that cannot be exact here is refused before any crop is taken.
"""

from __future__ import annotations

from pathlib import Path

from typing_extensions import assert_never

from reidstream_engines.onnx_facts import read_facts
from reidstream_engines.onnx_file import signature_of
from reidstream_engines.spec_source import resolve_spec

from .loaded_network import LoadedNetwork
from .onnx_engine import OnnxEngine
from .onnxruntime_network import OnnxRuntimeNetwork, open_onnxruntime
from .openvino_network import open_openvino
from .options import InferenceRuntime, OnnxOptions


def load_onnx(
    path: Path,
    *,
    name: str | None,
    profile: str | None,
    options: OnnxOptions,
    jpeg_scale: int = 1,
    fallback_reason: str = "",
) -> OnnxEngine:
    """Load an ONNX file. `name` None: the file's name. `profile` None: from the TOML file beside it, or its metadata.

    `jpeg_scale`: that of the stager whose frames the engine will get; it is part of the embedding space.
    `fallback_reason`: see `EngineInfo`.

    Raises ModelError (the file is missing or not ONNX, or a provider or a precision is not available), PackageMissing
    (the runtime), SpecError (no spec, or one that does not fit the network) and UnsupportedProfile (the preprocessing
    cannot be exact here; says what to install).
    """
    opened = open_onnxruntime(path, options)  # for every runtime: onnxruntime reads the signature
    facts = read_facts(path)
    spec = resolve_spec(path=path, signature=signature_of(opened), name=name, profile=profile, jpeg_scale=jpeg_scale)
    network: LoadedNetwork
    match options.runtime:
        case InferenceRuntime.ONNXRUNTIME:
            network = OnnxRuntimeNetwork(opened, spec, options.providers, precision=facts.precision())
        case InferenceRuntime.OPENVINO:
            del opened  # its copy of the weights
            network = open_openvino(path, spec, options, facts)
        case _:
            assert_never(options.runtime)
    return OnnxEngine(network, spec, options, fallback_reason=fallback_reason)
