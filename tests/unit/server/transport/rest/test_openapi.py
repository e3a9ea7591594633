"""The description for programs: what it says is sent, and every answer is as it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from reidstream_server.transport.rest.openapi import description
from reidstream_server.transport.rest.options import parse_options
from tests.support.harness import JPEG, encode, picture, real_engine
from tests.support.http import Answer, form, http_serving, http_to

CROP = encode(picture(64, 128, seed=3), ".png")
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
}
KNOWN = {"type", "properties", "required", "items", "oneOf", "enum", "$ref", "description"}
KNOWN |= {"contentEncoding", "default", "examples", "format"}
API = description("1")
EMBED = API["paths"]["/embed"]["post"]
VALUES = {
    "model": "fake",
    "boxes": "[[10, 20, 60, 140]]",
    "as_base64": "true",
    "camera_id": "c",
    "expected_space_id": "",
    "latency_budget_ms": "60000",
    "priority": "high",
    "apply_exif_orientation": "true",
}


def wrong(value: object, schema: Mapping[str, Any], at: str = "") -> list[str]:
    """What is not as the schema says; of JSON Schema, what the description uses. A name that it lacks is wrong, too."""
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema:
        return wrong(value, API["components"]["schemas"][schema["$ref"].rpartition("/")[2]], at)
    if "oneOf" in schema:
        fits = [one for one in schema["oneOf"] if not wrong(value, one, at)]
        return [] if len(fits) == 1 else [f"{at}: fits {len(fits)} of {len(schema['oneOf'])} schemas"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is not in {schema['enum']}"]
    if not isinstance(value, KINDS[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return [f"{at}: {value!r} is no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        properties = schema["properties"]
        found += [f"{at}: has no {name}" for name in schema.get("required", ()) if name not in value]
        found += [f"{at}: {name} is not described" for name in value if name not in properties]
        for name in value.keys() & properties.keys():
            found += wrong(value[name], properties[name], f"{at}.{name}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += wrong(item, schema["items"], f"{at}[{index}]")
    return found


def check(answer: Answer, described: Mapping[str, Any] = EMBED) -> None:
    """Its status and type are described, and its body is as the schema of that says."""
    responses = described["responses"]
    content = responses.get(str(answer.status), responses.get("default", {}))["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content
    if kind.endswith("json"):
        assert wrong(json.loads(answer.body), content[kind]["schema"]) == []


def test_it_describes_the_fields_that_the_call_takes() -> None:
    """All of them, in the query and in the form, and no others."""
    names = {parameter["name"] for parameter in EMBED["parameters"]}
    assert names == set(VALUES)
    assert set(EMBED["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]) == names | {"file"}
    parse_options({**VALUES}, 1)


async def test_what_is_served_is_the_description() -> None:
    """With every path that it names."""
    async with http_serving() as server, http_to(server) as http:
        served = (await http.ask("GET", "/openapi.json")).json
        assert served == API | {"info": served["info"]}
        for path, methods in served["paths"].items():
            for method, described in methods.items():
                answer = await http.ask(method.upper(), path)
                assert answer.status not in {404, 405}
                check(answer, described)


@pytest.mark.parametrize("kind", EMBED["responses"]["200"]["content"])
async def test_answers_are_as_described(kind: str) -> None:
    """A picture, several, and a frame with boxes, each with every way to write vectors and with every type of body."""
    async with http_serving(real_engine(), min_box_px=8) as server, http_to(server) as http:
        boxes = "[[10, 20, 60, 140], [9000, 0, 9100, 50], [0, 0, 2, 2], [5, 5, 1, 1]]"
        for body, headers in (form(CROP), form(CROP, b"x", CROP), form(JPEG, boxes=boxes), form(JPEG, boxes="[]")):
            for path in ("/embed", "/embed?as_base64=true"):
                answer = await http.ask("POST", path, body, headers | {"Accept": kind})
                assert (answer.status, answer.headers["content-type"]) == (200, kind)
                check(answer)
        for sent in EMBED["requestBody"]["content"]:
            if sent != "multipart/form-data":
                answer = await http.ask("POST", "/embed", CROP, {"Content-Type": sent, "Accept": kind})
                assert answer.status == 200
                check(answer)


async def test_every_field_does_as_described() -> None:
    """In the query, and in the form."""
    async with http_serving() as server, http_to(server) as http:
        values = VALUES | {"expected_space_id": server.runtime.models.default.spec.space_id}
        for name, value in values.items():
            coded = value.replace(" ", "").replace(":", "%3A")
            for path, (body, headers) in (
                (f"/embed?{name}={coded}", form(JPEG)),
                ("/embed", form(JPEG, **{name: value})),
            ):
                answer = await http.ask("POST", path, body, headers)
                assert answer.status == 200, (name, answer.body)
                check(answer)


async def test_refusals_are_as_described() -> None:
    """Of the request, of the picture, of the model, and of the path."""
    async with http_serving(min_box_px=8) as server, http_to(server) as http:
        for body, headers in (
            form(),
            form(b"x"),
            form(CROP, model="nobody"),
            form(CROP, expected_space_id="other"),
            form(CROP, priority="x"),
            form(encode(picture(3, 3), ".png")),
        ):
            answer = await http.ask("POST", "/embed", body, headers)
            assert answer.status >= 400
            check(answer)


def test_the_checker_finds_what_is_wrong() -> None:
    """Or it would find every answer right."""
    problem = {"type": "about:blank", "title": "Bad", "status": 400, "detail": "x"}
    schema = {"$ref": "#/components/schemas/Problem"}
    assert wrong(problem, schema) == []
    assert wrong(problem | {"status": "400"}, schema)
    assert wrong(problem | {"more": 1}, schema)
    assert wrong({"title": "Bad"}, schema)


async def test_what_the_page_hides_is_not_shown() -> None:
    """In a browser, a rule for an element (`label { display: block }`) shows it, though it is `hidden`: a field for a
    token, where there are no tokens.
    """
    async with http_serving() as server, http_to(server) as http:
        page = (await http.ask("GET", "/docs")).body.decode()
    assert " hidden>" in page
    assert "[hidden] { display: none !important; }" in page
