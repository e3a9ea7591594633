"""The description of the HTTP port for programs: OpenAPI 3.1, at /openapi.json.

Why by hand: there are a handful of paths, and a framework that would generate it costs a request two thirds of its
speed. A test sends what it describes, and checks every answer against it.
"""

from __future__ import annotations

from typing import Any, Final

_NUMBERS: Final = {"type": "array", "items": {"type": "number"}}
_BASE64: Final = {"type": "string", "contentEncoding": "base64", "description": "float32, little-endian"}
_OPTIONS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "model": ({"type": "string"}, "A model by its name; without it, the default model."),
    "boxes": (
        {"type": "string", "examples": ["[[10, 20, 60, 140]]"]},
        "Boxes in JSON, in pixels: [[x1, y1, x2, y2], ...], or objects that may have class_id and score, too.",
    ),
    "as_base64": ({"type": "boolean"}, "Write vectors as base64 of float32, little-endian, and not as numbers."),
    "camera_id": ({"type": "string", "default": "http"}, "Whose pictures these are: cameras take turns."),
    "expected_space_id": ({"type": "string"}, "Refuse the call (409) if the model's vectors are of another space."),
    "latency_budget_ms": ({"type": "integer"}, "Give up the call (504) if it would take longer."),
    "priority": ({"enum": ["low", "normal", "high"]}, "Who goes first."),
    "apply_exif_orientation": ({"type": "boolean"}, "Turn pictures as their EXIF says; boxes lie in the turned ones."),
}
_PICTURES: Final = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def description(version: str) -> dict[str, Any]:
    """The whole document, ready for JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reidstream",
            "version": version,
            "description": "Re-identification embeddings: pictures in, L2-normalised vectors out.",
        },
        "security": [{}, {"token": []}],
        "paths": {
            "/embed": {"post": _embed()},
            "/healthz": {"get": _probe("Whether the process is alive.")},
            "/readyz": {"get": _probe("Whether it takes frames.")},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Vector": _vector(), "Boxes": _boxes(), "Problem": _problem()},
        },
    }


def _embed() -> dict[str, Any]:
    fields = {name: schema | {"description": text} for name, (schema, text) in _OPTIONS.items()}
    file = {"type": "string", "format": "binary", "description": "A picture; several are a crop each."}
    form = {"type": "object", "required": ["file"], "properties": {"file": file} | fields}
    return {
        "operationId": "embed",
        "summary": "Embed a picture, several pictures, or the boxes of a frame.",
        "parameters": [
            {"name": name, "in": "query", "schema": schema, "description": text}
            for name, (schema, text) in _OPTIONS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PICTURES},
            },
        },
        "responses": {
            "200": {
                "description": "The vectors. A row of bytes or npy is NaN where a box has no vector.",
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [_schema("Vector"), _schema("Boxes")]},
                    },
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                    "application/x-npy": {"schema": {"type": "string", "format": "binary"}},
                },
            },
            "default": {
                "description": "Why there are no vectors, and what to do next.",
                "content": {"application/problem+json": {"schema": _schema("Problem")}},
            },
        },
    }


def _probe(summary: str) -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "summary": summary,
        "security": [],
        "responses": {
            "200": {"description": "Yes.", "content": text},
            "503": {"description": "No, and why.", "content": text},
        },
    }


def _about() -> dict[str, Any]:
    return {
        "model": {"type": "string"},
        "version": {"type": "string"},
        "space_id": {"type": "string", "description": "Only vectors of the same space may be compared."},
        "timing": {
            "type": "object",
            "description": "Nanoseconds since the request had come whole.",
            "properties": {
                "decoded_ns": {"type": "integer"},
                "first_batch_started_ns": {"type": "integer"},
                "last_batch_ended_ns": {"type": "integer"},
                "sent_ns": {"type": "integer"},
                "batch_sizes": {"type": "array", "items": {"type": "integer"}},
            },
        },
    }


def _vector() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["dim", "embedding", "model", "space_id"],
        "properties": {
            "dim": {"type": "integer"},
            "embedding": {"oneOf": [_NUMBERS, _BASE64]},
            "quality": {"type": "number", "description": "0 to 1: how much of the crop lay in the picture."},
        }
        | _about(),
    }


def _boxes() -> dict[str, Any]:
    outcomes = ("embedded", "too_small", "outside_frame", "invalid_box", "filtered", "no_model", "invalid_image")
    box = {
        "type": "object",
        "required": ["outcome"],
        "properties": {
            "outcome": {"enum": [*outcomes, "failed"]},
            "dim": {"type": "integer"},
            "embedding": {"oneOf": [_NUMBERS, _BASE64]},
            "quality": {"type": "number"},
        },
    }
    return {
        "type": "object",
        "required": ["dim", "boxes", "model", "space_id"],
        "properties": {
            "dim": {"type": "integer"},
            "boxes": {"type": "array", "items": box, "description": "One for each box, or file, in order."},
        }
        | _about(),
    }


def _problem() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and what to do next."},
            "reason": {"type": "string", "description": "The same for programs."},
            "retry_after_ms": {"type": "integer"},
        },
    }


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
