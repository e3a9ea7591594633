"""The identity of an embedding space.

Two vectors may be compared only if they come from the same weights and from pixels prepared in the same way. A digest
over all of that names the space. Names that change no number are left out: the input's, the profile's and the model's,
and the output's unless the network has several. Floats are written by `float.hex`: exact, and the same everywhere.

Traps: the canonical form can never change; a field that is added to the spec must be left out of it at its default.
The same arithmetic written in two ways (half the scale, or a std of 2) gives two spaces, which is the safe error.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .spec import InputSpec, OutputSpec

_VERSION = "1"
_CHUNK = 1 << 20


def space_id(
    *, artifact_sha256: str, input_spec: InputSpec, output_spec: OutputSpec, chosen_output: str | None = None
) -> str:
    """`1:` and 64 hex digits: the sha256 of the canonical form, ASCII JSON with sorted keys and no white space.

    `chosen_output`: the output's name, where the network has several; None where it has one.
    """
    output: dict[str, object] = {"dim": output_spec.dim, "l2_normalize": output_spec.l2_normalize}
    if chosen_output is not None:
        output["name"] = chosen_output
    source: dict[str, object] = {
        "color_order": input_spec.color_order.value,
        "crop_rule": input_spec.crop_rule.value,
        "fit": input_spec.fit.value,
        "height": input_spec.height,
        "mean": [_exact(value) for value in input_spec.mean],
        "resize": input_spec.resize.value,
        "scale": _exact(input_spec.scale),
        "std": [_exact(value) for value in input_spec.std],
        "width": input_spec.width,
    }
    if input_spec.jpeg_scale != 1:
        source["jpeg_scale"] = input_spec.jpeg_scale
    form = {"artifact": artifact_sha256, "features": {}, "input": source, "output": output}
    canonical = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{_VERSION}:{hashlib.sha256(canonical.encode('ascii')).hexdigest()}"


def sha256_file(path: Path, *more: Path) -> str:
    """The sha256 of a file, 64 lower-case hex digits; of several, as if they were one file. Raises OSError.

    Reads a megabyte at a time.
    """
    digest = hashlib.sha256()
    for part in (path, *more):
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _exact(value: float) -> str:
    return (float(value) + 0.0).hex()  # the sum makes -0.0 the 0.0 that it equals
