"""Writes a model's preprocessing as the TOML file that may lie beside the model.

Why complete, even where a profile says everything: who has own means and deviations changes two lines and sees all the
others. Trap: what is written must be read back to the same space, so numbers are written exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields as fields_of
from enum import Enum
from pathlib import Path

from .spec import ColorOrder, CropRule, Fit, Resize
from .spec_fields import SpecFields
from .spec_source import ModelSignature, find_fields, resolve_spec

_MEANING = {
    "color_order": "order of the network's channels",
    "resize": "how a crop is brought to the network's size",
    "fit": "what happens to a crop of another shape",
    "crop_rule": "which pixels a box takes",
    "scale": "y = (x * scale - mean) / std, with x from 0 to 255",
    "mean": "one number for each channel, after scale",
    "std": "the same",
    "l2_normalize": "whether vectors are divided by their length",
}
_CHOICES: dict[str, type[Enum]] = {
    "color_order": ColorOrder,
    "resize": Resize,
    "fit": Fit,
    "crop_rule": CropRule,
}


def spec_toml(path: Path, signature: ModelSignature, profile: str | None) -> str:
    """The preprocessing of the model file at `path`, whose network has `signature`, as TOML with comments.

    What the network leaves open and nobody has said is a comment to fill in. Raises what `resolve_spec` raises, except
    for that.
    """
    found = find_fields(path, signature, profile)
    missing = list(_missing(signature, found.fields))
    if not missing:
        resolve_spec(path=path, signature=signature, name=None, profile=profile)
    head = [
        f"# The preprocessing of {path.name}, from: {found.source}. Its place is {path.stem}.toml, beside the model.",
        "# Change what differs, and serve the model without --profile, which would replace all of this.",
    ]
    lines = [_line(field.name, getattr(found.fields, field.name)) for field in fields_of(found.fields)]
    return "\n".join([*head, *filter(None, lines), *missing]) + "\n"


def _line(key: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        text = json.dumps(value.value)
    elif isinstance(value, tuple):
        text = f"[{', '.join(map(repr, value))}]"
    else:
        text = json.dumps(value)
    meaning = _MEANING.get(key)
    if key in _CHOICES:
        meaning = f"{meaning}: {', '.join(str(item.value) for item in _CHOICES[key])}"
    return f"{key} = {text}" + (f"  # {meaning}" if meaning else "")


def _missing(signature: ModelSignature, fields: SpecFields) -> Iterator[str]:
    """What somebody must fill in."""
    if len(signature.outputs) > 1 and fields.output is None:
        names = ", ".join(tensor.name for tensor in signature.outputs)
        yield f'# output = "NAME"  # the network has several outputs; fill in the one of the vectors: {names}'
    for tensor in signature.inputs[:1]:
        for axis, (key, given) in enumerate((("height", fields.height), ("width", fields.width)), 2):
            if given is None and len(tensor.shape) > axis and tensor.shape[axis] is None:
                yield f"# {key} = PIXELS  # the network leaves it open; fill it in"
