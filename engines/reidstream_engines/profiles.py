"""Named preprocessings, for the weights that people already have.

Why names: the same weights are in use with half a dozen preprocessings, and a wrong one costs accuracy without any
error. A profile says everything but the sizes, which the network itself knows. They were read in the projects' own
code:

    torchreid   deep-person-reid's FeatureExtractor and BoxMOT's backends. OpenCV's resize, as the golden vectors.
    fastreid    tools/deploy/onnx_inference.py: cv2 INTER_CUBIC on RGB, no scaling. The exported graph subtracts the
                mean and divides by the deviation itself; vectors are divided by their norm after it. (Its training
                loader resizes with PIL's bicubic; the deployment scripts, whose files are served here, do not.)
    tao         tao_client's ReID mode: PIL BILINEAR; the deviation really is 0.224 in every channel.
    paddleclas  the ReID configurations' ResizeImage with backend pil, ToTensor, Normalize.
    deepstream  nvinfer's y = net-scale-factor * (x - offsets[c]), with the crop that it takes (`boxes.resolve`).
                Every model has its own numbers, so the scale has no default. NVIDIA's scaler is not public: OpenCV's
                bilinear resize takes its place, and its vectors are close to DeepStream's, but not in their space.

Trap: `l2_normalize` is True in all of them, because the service answers unit vectors; tao's own client does not
normalise. A TOML file beside the model may set it to false; the vectors are then in another space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import TypeVar

from .errors import SpecError
from .spec import ColorOrder, CropRule, Fit, Resize

E = TypeVar("E", bound=Enum)

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_BYTE = 1.0 / 255.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An InputSpec without the tensor's name and size; the formula is there. `description`: one line for people."""

    name: str
    description: str
    color_order: ColorOrder
    resize: Resize
    fit: Fit
    crop_rule: CropRule
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    l2_normalize: bool


_TORCHREID = Profile(
    name="torchreid",
    description="deep-person-reid and BoxMOT exports: OpenCV bilinear, RGB, ImageNet mean and std",
    color_order=ColorOrder.RGB,
    resize=Resize.OPENCV_BILINEAR,
    fit=Fit.STRETCH,
    crop_rule=CropRule.EXACT,
    scale=_BYTE,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    l2_normalize=True,
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            _TORCHREID,
            replace(
                _TORCHREID,
                name="fastreid",
                description="FastReID exports, which normalise inside the network: OpenCV bicubic, RGB, 0 to 255",
                resize=Resize.OPENCV_BICUBIC,
                scale=1.0,
                mean=(0.0, 0.0, 0.0),
                std=(1.0, 1.0, 1.0),
            ),
            replace(
                _TORCHREID,
                name="tao",
                description="TAO ReIdentificationNet, as its Triton client does it: PIL bilinear, RGB, std 0.224",
                resize=Resize.PIL_BILINEAR,
                std=(0.224, 0.224, 0.224),
            ),
            replace(
                _TORCHREID,
                name="paddleclas",
                description="PaddleClas ReID strong baseline: PIL bilinear, RGB, ImageNet mean and std",
                resize=Resize.PIL_BILINEAR,
            ),
            replace(
                _TORCHREID,
                name="deepstream",
                description="DeepStream nvinfer: scale * (x - offset), even-aligned crops. Write deepstream:scale=S"
                "[,offsets=A/B/C][,color=rgb|bgr|gray][,fit=stretch|letterbox_center|letterbox_corner]",
                crop_rule=CropRule.EVEN_ALIGNED,
                scale=1.0,
                mean=(0.0, 0.0, 0.0),
                std=(1.0, 1.0, 1.0),
            ),
        )
    }
)

_PARAMETERS = ("scale", "offsets", "color", "fit")


def parse_profile(text: str) -> Profile:
    """A profile by name, or `deepstream:KEY=VALUE,...`, whose keys are nvinfer's with shorter names.

    `scale`: net-scale-factor. `offsets`: one number per channel in the network's order, "/" between them; default 0.
    `color`: model-color-format, default rgb. `fit`: letterbox_corner is maintain-aspect-ratio=1; letterbox_center is
    that with symmetric-padding=1; default stretch. Raises SpecError, with the known names.
    """
    name, colon, parameters = text.partition(":")
    profile = PROFILES.get(name)
    if profile is None:
        raise SpecError(f"unknown profile {name!r}; the profiles are:\n{describe_profiles()}")
    if name == "deepstream":
        return _deepstream(profile, _split(parameters))
    if colon:
        raise SpecError(f"profile {name} takes no parameters; leave {parameters!r} out")
    return profile


def describe_profiles() -> str:
    """One indented line per profile."""
    return "\n".join(f"  {profile.name:<12}{profile.description}" for profile in PROFILES.values())


def _split(parameters: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in parameters.split(",") if parameters else ():
        key, equals, value = part.partition("=")
        if key not in _PARAMETERS or not equals:
            raise SpecError(
                f"profile deepstream: unknown parameter {part!r}; write KEY=VALUE with one of {', '.join(_PARAMETERS)}"
            )
        if key in values:
            raise SpecError(f"profile deepstream: {key} is given twice")
        values[key] = value
    return values


def _deepstream(profile: Profile, values: Mapping[str, str]) -> Profile:
    """Write nvinfer's y = scale * (x - offset) as y = (x * scale - scale * offset) / 1."""
    if "scale" not in values:
        raise SpecError(
            "profile deepstream needs the numbers of the nvinfer configuration, such as "
            "deepstream:scale=0.01735207,offsets=123.675/116.28/103.53"
        )
    scale = _number("scale", values["scale"])
    if scale <= 0.0:
        raise SpecError(f"profile deepstream: scale is {values['scale']!r}; it must be greater than 0")
    color_order = _one_of("color", values.get("color", "rgb"), ColorOrder)
    channels = 1 if color_order is ColorOrder.GRAY else 3
    offsets = (
        [_number("offsets", item) for item in values["offsets"].split("/")] if "offsets" in values else [0.0] * channels
    )
    if len(offsets) != channels:
        raise SpecError(
            f"profile deepstream: offsets is {values['offsets']!r}; color {color_order.value} needs {channels} numbers"
        )
    return replace(
        profile,
        color_order=color_order,
        fit=_one_of("fit", values.get("fit", "stretch"), Fit),
        scale=scale,
        mean=tuple(scale * offset for offset in offsets),
        std=(1.0,) * channels,
    )


def _number(key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SpecError(f"profile deepstream: {key} has {value!r}, which is not a finite number")
    return number


def _one_of(key: str, value: str, kind: type[E]) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise SpecError(f"profile deepstream: {key} is {value!r}; it must be one of {known}") from None
