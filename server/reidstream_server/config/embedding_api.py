"""Two variables that embedding APIs over REST are started with, for who replaces one: MODEL_PATH and ORT_PROVIDERS.

They count only where HTTP is served, and only where no setting of ours says the same: MODEL_PATH is a common name, and
a server that has never heard of such an API must not serve another model because of it.

Such APIs serve exports of TAO and say nothing of a preprocessing, so a model of MODEL_PATH that does not say its own is
taken for one (`ModelFile.assumed_profile`), with a warning. And they run onnxruntime's provider for CUDA, where this
server has an engine of its own: so that provider means "a GPU, if there is one".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .model_files import ASSUMED
from .sources import Given, Source

MODEL, PROVIDERS = "MODEL_PATH", "ORT_PROVIDERS"
_HTTP = "http_port"
_CPU = "CPUExecutionProvider"
_ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


def read_embedding_api(environ: Mapping[str, str], others: Sequence[Source]) -> Source:
    """The variables, as the source that all others override. `others`: what else is given."""
    source = Source()
    if not any(_HTTP in other.given for other in others):
        return source
    path = environ.get(MODEL, "")
    if path:
        source.given["models"] = Given(value=[{"path": path, ASSUMED: "tao"}], origin=f"environment {MODEL}")
    providers = [name.strip() for name in environ.get(PROVIDERS, "").split(",") if name.strip()]
    if providers:
        name, value = _asked(providers)
        source.given[name] = Given(value=value, origin=f"environment {PROVIDERS}")
    return source


def _asked(providers: Sequence[str]) -> tuple[str, str]:
    """The setting that says the same, and its value."""
    if any(name in _ON_GPU for name in providers):
        return "device", "auto"
    if all(name == _CPU for name in providers):
        return "device", "cpu"
    return "providers", ",".join(providers)
