"""The identity of an embedding space.

Two vectors may be compared only if the same weights looked at pixels prepared in the same way; a digest over all of
that names the space. Left out: names that change no number (the tensors', the profile's, the model's). Trap: the
canonical form is for ever; a field that is added to the spec must stay out of it at its default.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .spec import InputSpec, OutputSpec

_VERSION = "1"
_CHUNK = 1 << 20


def space_id(*, artifact_sha256: str, input_spec: InputSpec, output_spec: OutputSpec) -> str:
    """`1:` and the sha256 of the canonical form: JSON with sorted keys, no white space, floats as their hexadecimal
    form.
    """
    form = {
        "artifact": artifact_sha256,
        "features": {},
        "input": {
            "color_order": input_spec.color_order.value,
            "crop_rule": input_spec.crop_rule.value,
            "fit": input_spec.fit.value,
            "height": input_spec.height,
            "mean": [value.hex() for value in map(float, input_spec.mean)],
            "resize": input_spec.resize.value,
            "scale": float(input_spec.scale).hex(),
            "std": [value.hex() for value in map(float, input_spec.std)],
            "width": input_spec.width,
        },
        "output": {"dim": output_spec.dim, "l2_normalize": output_spec.l2_normalize},
    }
    canonical = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{_VERSION}:{hashlib.sha256(canonical.encode('ascii')).hexdigest()}"


def sha256_file(path: Path) -> str:
    """The sha256 of a file, 64 hex digits. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
