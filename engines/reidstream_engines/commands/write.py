"""`spec` and `quantize`: files that are made from a model, its preprocessing as TOML and its INT8 version.

Trap: `spec` is used as `spec MODEL > MODEL.toml`, and the shell makes the empty file first. An empty file beside the
model must count as none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reidstream_engines.onnx_file import read_signature
from reidstream_engines.quantize import find_crops, need_packages, quantize
from reidstream_engines.spec_toml import spec_toml

from .common import Meant


def write_spec(model: Meant) -> None:
    """Print the TOML file that may lie beside the model. Raises ModelError and SpecError."""
    sys.stdout.write(spec_toml(model.path, read_signature(model.path), model.profile))


def quantize_model(model: Meant, folder: Path, target: Path) -> None:
    """Write `target`, calibrated with the crops in `folder`. Raises EnginesError."""
    need_packages()
    from tqdm import tqdm  # noqa: PLC0415 - optional

    crops = find_crops(folder)
    with tqdm(total=len(crops), unit="crop", desc="quantizing", disable=None) as bar:
        made = quantize(model.path, target, profile=model.profile, crops=crops, tick=bar.update)
    print(f"{target}: {made.layers} layers in int8, calibrated with {made.calibrated_with} crops")
    print(f"space_id     {made.spec.space_id}")
    cosines = sorted(made.cosines)
    print(
        f"cosine       to the original on {len(cosines)} other crops: mean {sum(cosines) / len(cosines):.4f}, "
        f"5th percentile {cosines[len(cosines) // 20]:.4f}, least {cosines[0]:.4f}"
    )
