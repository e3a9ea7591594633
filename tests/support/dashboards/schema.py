"""Grafana's own types as JSON Schema, and what is wrong with a dashboard by them.

There is no Grafana that could be started from a package index, so the next best judge is the types that it publishes
(npm `@grafana/schema`, Apache-2.0): unknown keys and wrong types are refused, in the dashboard and in the options of
each kind of panel. `grafana_schema.json` was made of them in an empty folder, without their descriptions:

    npm i @grafana/schema@13.2.3 typescript@5 ts-json-schema-generator@2
    python -m tests.support.dashboards.schema FOLDER

Traps: the schema knows no queries of Prometheus, and of marks (annotations) only those of Grafana's own database. What
is left out for that is named here, and tests look at it by themselves.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft7Validator

SCHEMA = Path(__file__).with_name("grafana_schema.json")
KINDS = ("timeseries", "stat", "bargauge", "table", "heatmap")
MARK_KEYS = frozenset({"expr", "step", "titleFormat", "textFormat", "useValueForTime"})
"""What Grafana's Prometheus reads in a mark, and no schema of Grafana has."""

_RAW = "node_modules/@grafana/schema/dist/types/raw"


def problems(dashboard: dict[str, Any]) -> list[str]:
    """What Grafana's types forbid in it: a place and a reason each."""
    bare = json.loads(json.dumps(dashboard))
    for mark in bare["annotations"]["list"]:
        for key in MARK_KEYS:
            mark.pop(key, None)
    found = [_told(error, "dashboard") for error in _judge("dashboard:Dashboard").iter_errors(bare)]
    for panel in bare["panels"]:
        found += [f"{panel['id']}: {problem}" for problem in _of_panel(panel)]
    return found


def _of_panel(panel: dict[str, Any]) -> Iterator[str]:
    kind = panel["type"]
    if kind == "row":
        return
    if kind not in KINDS:
        yield f"there is no schema of {kind!r} here: add it to KINDS"
        return
    for error in _judge("dashboard:Panel").iter_errors(panel):
        yield _told(error, "panel")
    for error in _judge(f"{kind}:Options").iter_errors(panel["options"]):
        yield _told(error, "options")
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    if f"{kind}:FieldConfig" not in _definitions():
        if custom:
            yield f"{kind} has no custom fields"
        return
    for error in _judge(f"{kind}:FieldConfig").iter_errors(custom):
        yield _told(error, "custom")


def _told(error: Any, place: str) -> str:
    return f"{place}{''.join(f'[{part!r}]' for part in error.absolute_path)}: {error.message}"


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))["definitions"]
    return found


@cache
def _judge(name: str) -> Draft7Validator:
    return Draft7Validator({"$ref": f"#/definitions/{name}", "definitions": _definitions()})


def _generated(folder: Path, source: str, wanted: str) -> dict[str, Any]:
    (folder / "tsconfig.json").write_text('{"compilerOptions":{"skipLibCheck":true}}', encoding="utf-8")
    command = ["npx", "ts-json-schema-generator", "--path", f"{_RAW}/{source}/x/types.gen.d.ts", "--type", wanted]
    command += ["--tsconfig", "tsconfig.json", "--no-type-check", "--expose", "all", "--jsDoc", "none"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(made.stdout)["definitions"]
    return found


def _needed(definitions: dict[str, Any], wanted: str) -> Iterator[str]:
    """A definition, and all that it refers to."""
    waiting, seen = [wanted], {wanted}
    while waiting:
        name = waiting.pop()
        yield name
        for reference in _references(definitions[name]):
            if reference not in seen:
                seen.add(reference)
                waiting.append(reference)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield unquote(node["$ref"].removeprefix("#/definitions/"))
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def main() -> None:
    """Write `grafana_schema.json` of the packages in a folder."""
    folder = Path(sys.argv[1])
    definitions: dict[str, Any] = {}
    parts: list[tuple[str, str, tuple[str, ...]]] = [("dashboard", "dashboard", ("Dashboard",))]
    parts += [(kind, f"composable/{kind}/panelcfg", ("Options", "FieldConfig")) for kind in KINDS]
    for prefix, source, wanted in parts:
        found = _generated(folder, source, "*")
        for name in wanted:
            if name in found:
                for needed in _needed(found, name):
                    text = json.dumps(found[needed]).replace("#/definitions/", f"#/definitions/{prefix}:")
                    definitions[f"{prefix}:{needed}"] = json.loads(text)
    version = json.loads((folder / "node_modules/@grafana/schema/package.json").read_text(encoding="utf-8"))["version"]
    comment = f"Made of @grafana/schema {version} (Apache-2.0, Grafana Labs) by tests/support/dashboards/schema.py."
    document = {"$comment": comment, "definitions": definitions}
    SCHEMA.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
