"""Manifests: what is written is read back; anything else is refused, with the field, what was found and expected."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_engines.errors import PlanError
from reidstream_engines.tensorrt.manifest import PlanKey, PlanManifest, manifest_to_json, mismatches, parse_manifest
from tests.unit.engines.tensorrt.plan_parts import KEY, MANIFEST, keys, manifests


def form() -> dict[str, Any]:
    found = json.loads(manifest_to_json(MANIFEST))
    assert isinstance(found, dict)
    return found


def refusal(changed: object) -> str:
    with pytest.raises(PlanError) as raised:
        parse_manifest(json.dumps(changed), where="manifest.json")
    assert str(raised.value).startswith("manifest.json")
    return str(raised.value)


@given(manifests())
def test_round_trip(manifest: PlanManifest) -> None:
    """Every manifest there can be."""
    assert parse_manifest(manifest_to_json(manifest), where="here") == manifest


@given(keys(), keys())
def test_keys_that_differ_have_other_digests(first: PlanKey, second: PlanKey) -> None:
    """And the fields that differ are named, no others."""
    differing = {field.name for field in fields(PlanKey) if getattr(first, field.name) != getattr(second, field.name)}
    assert {item.field for item in mismatches(first, second)} == differing
    assert (first.digest() == second.digest()) is (not differing)


def test_a_mismatch_says_found_and_expected() -> None:
    """In words that name the field."""
    (wrong,) = mismatches(replace(KEY, tensorrt_version="10.16.1"), KEY)
    assert str(wrong) == "tensorrt_version is '10.16.1', not '11.4.0'"


@given(st.text(max_size=40))
def test_no_text_is_taken_for_a_manifest(text: str) -> None:
    """Nor crashes anything."""
    with pytest.raises(PlanError, match=r"^here"):
        parse_manifest(text, where="here")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_json_is_taken_for_a_manifest(value: object) -> None:
    """Whatever its form."""
    refusal(value)


LEAVES = [(name,) for name in form() if not isinstance(form()[name], dict)] + [
    (name, inner) for name in form() if isinstance(form()[name], dict) for inner in form()[name]
]


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
@pytest.mark.parametrize("value", [True, -2, 1.5, "", "\x00", [], [0], {}, None], ids=repr)
def test_no_field_takes_a_value_that_is_not_its_own(path: tuple[str, ...], value: object) -> None:
    """But for the few that are."""
    changed = form()
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    own = (
        (path == ("static_batch",) and value is None)
        or (path == ("spec",) and isinstance(value, str))
        or (path[-1] in ("model", "name", "output", "tensorrt_version") and value == "\x00")
    )
    holder[path[-1]] = value
    if own:
        parse_manifest(json.dumps(changed), where="here")
    else:
        assert f": {path[-1]} is " in refusal(changed)


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_no_field_may_be_missing(path: tuple[str, ...]) -> None:
    """Each is named."""
    changed = form()
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    assert f"{path[-1]} is missing" in refusal(changed)


def test_no_field_may_be_more() -> None:
    """A newer version's fields mean something."""
    assert "'x'; expected: no such field" in refusal({**form(), "extra": "x"})
    changed = form()
    changed["key"]["extra"] = "x"
    assert refusal(changed).startswith("manifest.json, key: extra is")


def test_other_formats_are_refused() -> None:
    """By number."""
    assert "format is 2; expected: 1" in refusal({**form(), "format": 2})


def test_a_static_batch_is_the_largest() -> None:
    """Or there is none."""
    assert "static_batch is 8; expected: null or max_batch, 64" in refusal({**form(), "static_batch": 8})


def test_an_adopted_plan_has_a_spec() -> None:
    """Nothing else says how its pictures are prepared."""
    assert "spec is ''; expected: text" in refusal({**form(), "origin": "adopted"})
