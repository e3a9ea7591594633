"""spec_fields: what a spec writes down is what is read back, and the order of the keys says nothing."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_engines.errors import SpecError
from reidstream_engines.profiles import PROFILES
from reidstream_engines.spec import ColorOrder, CropRule, Fit, InputSpec, ModelSpec, OutputSpec, Resize
from reidstream_engines.spec_fields import (
    SpecFields,
    fields_from_mapping,
    fields_from_profile,
    fields_to_mapping,
)

LARGEST = sys.float_info.max
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0.0, exclude_min=True, allow_infinity=False)


def triples(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(numbers) | st.tuples(numbers, numbers, numbers)


specs = st.builds(
    ModelSpec,
    name=st.just("m"),
    profile=st.just("p"),
    artifact_sha256=st.just(""),
    space_id=st.just(""),
    input=st.builds(
        InputSpec,
        name=st.just("input"),
        width=st.just(128),
        height=st.just(256),
        color_order=st.sampled_from(ColorOrder),
        resize=st.sampled_from(Resize),
        fit=st.sampled_from(Fit),
        crop_rule=st.sampled_from(CropRule),
        scale=positive,
        mean=triples(finite),
        std=triples(positive),
    ),
    output=st.builds(OutputSpec, name=st.just("embedding"), dim=st.just(512), l2_normalize=st.booleans()),
)


@settings(deadline=None)
@given(specs, st.permutations(range(8)))
def test_written_and_read_back(spec: ModelSpec, order: list[int]) -> None:
    """Through JSON, to the last bit of every number, in any order of keys. Sizes and names are the network's."""
    written = list(fields_to_mapping(spec).items())
    read = fields_from_mapping(json.loads(json.dumps(dict(written[at] for at in order))), where="here")
    assert read == SpecFields(
        color_order=spec.input.color_order,
        resize=spec.input.resize,
        fit=spec.input.fit,
        crop_rule=spec.input.crop_rule,
        scale=spec.input.scale,
        mean=spec.input.mean,
        std=spec.input.std,
        l2_normalize=spec.output.l2_normalize,
    )


@pytest.mark.parametrize("name", sorted(PROFILES.keys() - {"deepstream"}))
def test_a_profile_has_every_field(name: str) -> None:
    """And says nothing of the network."""
    fields, profile = fields_from_profile(name), PROFILES[name]
    assert (fields.color_order, fields.resize, fields.fit) == (profile.color_order, profile.resize, profile.fit)
    assert (fields.crop_rule, fields.l2_normalize) == (profile.crop_rule, profile.l2_normalize)
    assert (fields.scale, fields.mean, fields.std) == (profile.scale, profile.mean, profile.std)
    assert (fields.output, fields.width, fields.height) == (None, None, None)


def test_a_profile_given_by_hand_leaves_only_what_is_said_of_the_network() -> None:
    """The mapping's own profile, and its corrections to it, are gone."""
    mapping = {"profile": "fastreid", "scale": 2.0, "l2_normalize": False, "output": "b", "width": 64, "height": 128}
    fields = fields_from_mapping(mapping, where="here", profile="tao")
    assert (fields.output, fields.width, fields.height) == ("b", 64, 128)
    assert fields.scale == PROFILES["tao"].scale
    assert fields.resize is PROFILES["tao"].resize
    assert fields.l2_normalize


def test_every_missing_field_is_named_at_once() -> None:
    """Nobody wants eight refusals."""
    with pytest.raises(SpecError, match=r"^here: resize, fit, crop_rule, mean, std, l2_normalize missing"):
        fields_from_mapping({"color_order": "rgb", "scale": 1}, where="here")


def test_the_ends_of_the_ranges() -> None:
    """A picture of one pixel, and the largest doubles, are still what they say."""
    mapping = {"profile": "tao", "width": 1, "height": 1, "scale": 5e-324, "mean": [LARGEST, -LARGEST, 0]}
    fields = fields_from_mapping(mapping, where="here")
    assert (fields.width, fields.height, fields.scale) == (1, 1, 5e-324)
    assert fields.mean == (LARGEST, -LARGEST, 0.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
keys = st.sampled_from(
    ["profile", "color_order", "scale", "mean", "std", "l2_normalize", "output", "width", "nonsense"]
)


@settings(deadline=None)
@given(st.dictionaries(keys, json_values, max_size=3), st.sampled_from([None, "tao"]))
def test_whatever_was_written_down(mapping: dict[str, object], profile: str | None) -> None:
    """Fields, or a SpecError that says where; never another exception."""
    problem = ""
    try:
        fields_from_mapping(mapping, where="here", profile=profile)
    except SpecError as error:
        problem = str(error)
    assert problem.startswith("here: ") or not problem
