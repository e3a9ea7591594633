"""Named preprocessings: how the weights that people already have were looked at.

Why names: the same weights circulate with half a dozen preprocessings, and a wrong one costs accuracy without any
error. A profile says everything but the sizes, which the network itself knows. Trap: `l2_normalize` is True in all of
them, because the service answers unit vectors; a TOML beside the model may say otherwise, and the space is another one
then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

from .errors import SpecError
from .spec import ColorOrder, CropRule, Fit, Resize

V = TypeVar("V")

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_BYTE = 1.0 / 255.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything of an InputSpec but the tensor's name and size; see there for the formula. `description` is one line
    for people.
    """

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
                description="DeepStream nvinfer: scale * (x - offset), even-aligned crops; default 1/(255*0.226), 0; "
                "deepstream:scale=S,offsets=R/G/B,color=rgb|bgr|gray,fit=stretch|letterbox_center|letterbox_corner",
                crop_rule=CropRule.EVEN_ALIGNED,
                scale=1.0 / (255.0 * 0.226),
                mean=(0.0, 0.0, 0.0),
                std=(1.0, 1.0, 1.0),
            ),
        )
    }
)

_COLORS = {order.value: order for order in ColorOrder}
_FITS = {fit.value: fit for fit in Fit}


def parse_profile(text: str) -> Profile:
    """A profile by name, or `deepstream:KEY=VALUE,...`. Raises SpecError, which says what there is."""
    name, _, parameters = text.partition(":")
    profile = PROFILES.get(name)
    if profile is None:
        raise SpecError(f"unknown profile {name!r}; the profiles are:\n{describe_profiles()}")
    if not parameters:
        return profile
    if name != "deepstream":
        raise SpecError(f"profile {name!r} takes no parameters; {parameters!r} was given")
    return _with_parameters(profile, parameters)


def describe_profiles() -> str:
    """One indented line per profile."""
    return "\n".join(f"  {profile.name:<12}{profile.description}" for profile in PROFILES.values())


def _with_parameters(profile: Profile, parameters: str) -> Profile:
    """Write nvinfer's y = scale * (x - offset) as y = (x * scale - scale * offset) / 1."""
    offsets: tuple[float, ...] | None = None
    for part in parameters.split(","):
        key, _, value = part.partition("=")
        match key:
            case "scale":
                profile = replace(profile, scale=_number(key, value))
            case "offsets":
                offsets = tuple(_number(key, item) for item in value.split("/"))
            case "color":
                profile = replace(profile, color_order=_one_of(key, value, _COLORS))
            case "fit":
                profile = replace(profile, fit=_one_of(key, value, _FITS))
            case _:
                raise SpecError(f"profile deepstream: unknown parameter {key!r}; it takes scale, offsets, color, fit")
    channels = 1 if profile.color_order is ColorOrder.GRAY else 3
    offsets = offsets or (0.0,) * channels
    if len(offsets) != channels:
        raise SpecError(f"profile deepstream: {len(offsets)} offsets for {channels} channels")
    return replace(profile, mean=tuple(profile.scale * offset for offset in offsets), std=(1.0,) * channels)


def _number(key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SpecError(f"profile deepstream: {key} is {value!r}; it must be a finite number")
    return number


def _one_of(key: str, value: str, known: Mapping[str, V]) -> V:
    if value not in known:
        raise SpecError(f"profile deepstream: {key} is {value!r}; it must be one of {', '.join(known)}")
    return known[value]
