"""profiles: the numbers of each, held against the projects' own arithmetic, and the errors of a mistyped one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reidstream_engines.errors import SpecError
from reidstream_engines.profiles import PROFILES, Profile, describe_profiles, parse_profile
from reidstream_engines.spec import ColorOrder, CropRule, Fit, Resize

PIXELS = np.arange(256, dtype=np.float64)
NUMBERS = "deepstream:scale=0.01735207,offsets=123.675/116.28/103.53"


def normalised(profile: Profile, channel: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Every byte as the network would see it in this channel, by the formula of InputSpec."""
    return (PIXELS * profile.scale - profile.mean[channel]) / profile.std[channel]


@pytest.mark.parametrize("name", ["torchreid", "fastreid", "tao", "paddleclas"])
def test_profiles_with_nothing_to_say(name: str) -> None:
    """A name is enough; colour, exact boxes, stretched, unit vectors."""
    profile = parse_profile(name)
    assert profile is PROFILES[name]
    assert profile.name == name
    assert profile.color_order is ColorOrder.RGB
    assert profile.crop_rule is CropRule.EXACT
    assert profile.fit is Fit.STRETCH
    assert profile.l2_normalize


@pytest.mark.parametrize(
    ("name", "resize"),
    [
        ("torchreid", Resize.OPENCV_BILINEAR),
        ("fastreid", Resize.OPENCV_BICUBIC),
        ("tao", Resize.PIL_BILINEAR),
        ("paddleclas", Resize.PIL_BILINEAR),
    ],
)
def test_resizes(name: str, resize: Resize) -> None:
    """As each project's own inference code does it."""
    assert PROFILES[name].resize is resize


@pytest.mark.parametrize("channel", range(3))
@pytest.mark.parametrize("name", ["torchreid", "paddleclas"])
def test_imagenet_numbers(name: str, channel: int) -> None:
    """ToTensor, then Normalize."""
    mean, std = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)][channel]
    np.testing.assert_allclose(normalised(PROFILES[name], channel), (PIXELS / 255 - mean) / std, rtol=1e-12)


@pytest.mark.parametrize("channel", range(3))
def test_tao_numbers(channel: int) -> None:
    """ImageNet's means, and its green deviation for all three."""
    mean = (0.485, 0.456, 0.406)[channel]
    np.testing.assert_allclose(normalised(PROFILES["tao"], channel), (PIXELS / 255 - mean) / 0.224, rtol=1e-12)


@pytest.mark.parametrize("channel", range(3))
def test_fastreid_hands_over_bytes(channel: int) -> None:
    """The exported graph begins with its own normalisation."""
    np.testing.assert_array_equal(normalised(PROFILES["fastreid"], channel), PIXELS)


def test_the_table_is_closed() -> None:
    """Nobody adds a profile at run time."""
    with pytest.raises(TypeError):
        PROFILES["mine"] = PROFILES["tao"]  # type: ignore[index]  # that it cannot be done is the point


class TestDeepstream:
    def test_scale_and_offsets(self) -> None:
        """net-scale-factor * (x - offset), per channel."""
        profile = parse_profile(NUMBERS)
        for channel, offset in enumerate((123.675, 116.28, 103.53)):
            np.testing.assert_allclose(
                normalised(profile, channel), 0.01735207 * (PIXELS - offset), rtol=1e-12, atol=1e-12
            )

    def test_what_nvinfer_does_when_it_is_told_nothing_else(self) -> None:
        """RGB, no offsets, stretched, and its own crop rule."""
        profile = parse_profile("deepstream:scale=0.5")
        assert (profile.name, profile.scale) == ("deepstream", 0.5)
        assert (profile.mean, profile.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        assert (profile.color_order, profile.fit) == (ColorOrder.RGB, Fit.STRETCH)
        assert profile.crop_rule is CropRule.EVEN_ALIGNED

    def test_every_parameter_in_any_order(self) -> None:
        """Only what is named changes."""
        plain = parse_profile("deepstream:scale=2")
        full = parse_profile("deepstream:fit=letterbox_center,color=bgr,offsets=1/2/3,scale=2")
        assert full == replace(
            plain, fit=Fit.LETTERBOX_CENTER, color_order=ColorOrder.BGR, mean=(2.0, 4.0, 6.0), std=(1.0, 1.0, 1.0)
        )

    @pytest.mark.parametrize("text", ["deepstream:scale=2,color=gray,offsets=3", "deepstream:color=gray,scale=2"])
    def test_gray_has_one_channel(self, text: str) -> None:
        """One mean, one deviation."""
        profile = parse_profile(text)
        assert profile.color_order is ColorOrder.GRAY
        assert (len(profile.mean), len(profile.std)) == (1, 1)

    def test_the_example_in_the_error_works(self) -> None:
        """Whoever forgot the numbers can copy the line."""
        with pytest.raises(SpecError) as caught:
            parse_profile("deepstream")
        assert parse_profile(str(caught.value).split()[-1]) == parse_profile(NUMBERS)

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [
            ("", "needs the numbers"),
            (":", "needs the numbers"),
            (":offsets=1/2/3", "needs the numbers"),
            (":scale=big", "scale has 'big', which is not a finite number"),
            (":scale=nan", "scale has 'nan', which is not a finite number"),
            (":scale=1e999", "scale has '1e999', which is not a finite number"),
            (":scale=0", "scale is '0'; it must be greater than 0"),
            (":scale=-1", "scale is '-1'; it must be greater than 0"),
            (":scale=", "scale has '', which is not a finite number"),
            (":scale=1,offsets=1/x/3", "offsets has 'x'"),
            (":scale=1,offsets=1/2", "offsets is '1/2'; color rgb needs 3 numbers"),
            (":scale=1,offsets=1/2/3,color=gray", "offsets is '1/2/3'; color gray needs 1 numbers"),
            (":scale=1,color=yuv", "color is 'yuv'; it must be one of rgb, bgr, gray"),
            (":scale=1,fit=crop", "fit is 'crop'; it must be one of stretch, letterbox_center, letterbox_corner"),
            (":scale=1,colour=rgb", "unknown parameter 'colour=rgb'; .*scale, offsets, color, fit"),
            (":scale=1,", "unknown parameter ''"),
            (":scale", "unknown parameter 'scale'"),
            (":scale=1,scale=2", "scale is given twice"),
        ],
    )
    def test_mistakes(self, parameters: str, words: str) -> None:
        """Each names the parameter, what was given, and what would do."""
        with pytest.raises(SpecError, match=words):
            parse_profile(f"deepstream{parameters}")


@pytest.mark.parametrize("text", ["", "Torchreid", "osnet", ":scale=1"])
def test_an_unknown_profile_is_answered_with_all_of_them(text: str) -> None:
    """Name and description, a line each."""
    with pytest.raises(SpecError) as caught:
        parse_profile(text)
    message = str(caught.value)
    assert repr(text.partition(":")[0]) in message
    for profile in PROFILES.values():
        assert f"  {profile.name}" in message
        assert profile.description in message
    assert message.endswith(describe_profiles())


@pytest.mark.parametrize("text", ["torchreid:", "tao:std=0.226"])
def test_parameters_for_a_profile_that_takes_none(text: str) -> None:
    """They would be silently without effect."""
    with pytest.raises(SpecError, match="takes no parameters"):
        parse_profile(text)
