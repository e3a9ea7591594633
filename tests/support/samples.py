"""Specs that several tests need, as real models have them.

Why one place: a field that InputSpec gains has one sample to reach. Trap: tests that need another value make it with
`replace`, so that the difference is what the reader sees.
"""

from __future__ import annotations

from dataclasses import replace

from reidstream_engines.spec import ColorOrder, CropRule, Fit, InputSpec, Resize

TORCHREID_INPUT = InputSpec(
    name="input",
    width=128,
    height=256,
    color_order=ColorOrder.RGB,
    resize=Resize.OPENCV_BILINEAR,
    fit=Fit.STRETCH,
    crop_rule=CropRule.EXACT,
    scale=1 / 255,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""The profile torchreid on a network of the usual size."""

LEVELS_INPUT = replace(TORCHREID_INPUT, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""The same without normalisation: the network gets the levels, 0 to 255."""
