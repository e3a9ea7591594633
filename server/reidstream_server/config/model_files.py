"""The model files to serve: the only setting that is a list of records.

    --model reid.onnx --model vehicles=models/v.onnx        REIDSTREAM_MODEL=reid.onnx,vehicles=models/v.onnx
    [[models]]  name = "vehicles"  path = "models/v.onnx"  profile = "fastreid"

Trap: clients choose models by name, so a name must be unique and simple. A file's stem is the default name and may be
neither; the error then asks for a name, and the stem is not changed silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath

from typing_extensions import override

from .fields import Fault, Faults, Kind

# A name, perhaps with parameters (deepstream:scale=0.0173,color=bgr); the engines check whether it exists.
PROFILE_PATTERN = r"[A-Za-z0-9_.-]+(:[A-Za-z0-9_.,;:=/+-]+)?"
PROFILE_ALLOWED = "the name of a profile, or NAME:KEY=VALUE,..."
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEYS = ("name", "path", "profile")
ASSUMED = "assumed_profile"
"""A key of what programs write; nobody writes it into a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model to load. `profile` None: the spec is beside the file or in it. `assumed_profile`: where it is neither."""

    name: str
    path: Path
    profile: str | None = None
    assumed_profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList(Kind):
    """A tuple of ModelFile. As text: [NAME=]FILE, in the environment with commas between; in TOML: [[models]]."""

    metavar: str = "[NAME=]FILE"
    range: str = ""

    @property
    @override
    def allowed(self) -> str:
        return "[NAME=]FILE with different names of 1 to 64 letters, digits, _, . and -"

    @override
    def parse(self, given: object) -> tuple[ModelFile, ...] | Faults:
        """A list holds the values of several flags, or the tables of a file."""
        items: list[object]
        match given:
            case str():
                items = [item.strip() for item in given.split(",")]
            case list():
                items = given
            case _:
                return Faults((Fault(value=given, message=f"must be {self.allowed}, or tables [[models]]"),))
        models: list[ModelFile] = []
        faults: list[Fault] = []
        for index, item in enumerate(items):
            result = _parse_one(item)
            if isinstance(result, Faults):
                faults += [_inside(index, fault) for fault in result.faults]
            else:
                models.append(result)
                faults += [_inside(index, fault) for fault in _name_faults(result, models[:-1])]
        return Faults(tuple(faults)) if faults else tuple(models)

    @override
    def show(self, value: object) -> str:
        """As text; profiles are left out, which only the tables of a file can hold."""
        models: Iterable[object] = value if isinstance(value, tuple) else ()
        return ",".join(f"{model.name}={model.path}" for model in models if isinstance(model, ModelFile))


def _parse_one(item: object) -> ModelFile | Faults:
    match item:
        case str():
            name, equals, path = item.partition("=")
            if not equals or "/" in name:  # ./a=b.onnx is a path
                name, path = PurePath(item).stem, item
            if not path.strip():
                return Faults((Fault(value=item, message="must be [NAME=]FILE; there is no file"),))
            return ModelFile(name=name, path=Path(path))
        case dict():
            return _parse_table(item)
        case _:
            return Faults((Fault(value=item, message="must be [NAME=]FILE, or a table with path, name and profile"),))


def _parse_table(table: dict[str, object]) -> ModelFile | Faults:
    """One [[models]] of a TOML file."""
    faults = [_unknown_key(key, table[key]) for key in table if key not in (*_KEYS, ASSUMED)]
    path, name, profile, assumed = table.get("path"), table.get("name"), table.get("profile"), table.get(ASSUMED)
    if not isinstance(path, str) or not path.strip():
        message = "must be the path of a model file"
        faults.append(Fault(key=".path", value="" if path is None else path, message=message))
    if name is not None and not isinstance(name, str):
        faults.append(Fault(key=".name", value=name, message="must be text"))
    if profile is not None and not (isinstance(profile, str) and re.fullmatch(PROFILE_PATTERN, profile)):
        faults.append(Fault(key=".profile", value=profile, message=f"must be {PROFILE_ALLOWED}"))
    if faults or not isinstance(path, str):
        return Faults(tuple(faults))
    return ModelFile(
        name=name if isinstance(name, str) else PurePath(path).stem,
        path=Path(path),
        profile=profile if isinstance(profile, str) else None,
        assumed_profile=assumed if isinstance(assumed, str) else None,
    )


def _unknown_key(key: str, value: object) -> Fault:
    close = get_close_matches(key, _KEYS, n=1)
    hint = f"did you mean {close[0]}?" if close else "a setting of the server belongs before the first [[models]]"
    return Fault(key=f".{key}", value=value, message=f"unknown key of a model, which has {', '.join(_KEYS)}; {hint}")


def _name_faults(model: ModelFile, before: Iterable[ModelFile]) -> Iterable[Fault]:
    if not _NAME.fullmatch(model.name):
        yield Fault(
            key=".name",
            value=model.name,
            message="must be 1 to 64 letters, digits, _, . and -; name the model as in NAME=FILE",
        )
    elif any(other.name == model.name for other in before):
        yield Fault(
            key=".name",
            value=model.name,
            message="must be unique, and another model has it; name one of them as in NAME=FILE",
        )


def _inside(index: int, fault: Fault) -> Fault:
    return Fault(key=f"[{index}]{fault.key}", value=fault.value, message=fault.message)
