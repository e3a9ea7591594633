"""Where settings come from: flags, environment, file. Each becomes the same thing, a value and its origin by name.

Why not argparse for the flags: it stops at the first error, and somebody who starts a service wants all of them.
It still draws the help (`help.py`).

Trap: Kubernetes gives every pod variables named after the services around it. A service called `reidstream` brings
REIDSTREAM_PORT=tcp://10.0.0.1:50051, REIDSTREAM_SERVICE_HOST and more; those are recognised and left alone, since the
pod would otherwise never start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import tomllib

from .fields import Switch, shown
from .model_files import ModelList
from .table import CONFIG_FILE, PREFIX, SETTINGS, Setting

_SERVICE_NAME = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
# What `reidstream-client` reads; both programs may share an environment.
_CLIENT_VARIABLES = {PREFIX + "SERVER", PREFIX + "TOKEN_FILE"}
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value as it was written, and where. Paths in it are relative to `folder`."""

    value: object
    origin: str
    folder: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one source says: values by the name of their setting, and what is wrong with the source itself."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_flags(argv: Sequence[str]) -> Source:
    """`--name VALUE`, `--name=VALUE`, `--switch`, `--no-switch`. Models add up; of any other flag the last counts."""
    source = Source()
    flags = {setting.flag: setting for setting in (*SETTINGS, CONFIG_FILE)}
    negated = {f"--no-{flag[2:]}": setting for flag, setting in flags.items() if isinstance(setting.kind, Switch)}
    rest = list(reversed(argv))
    while rest:
        flag, equals, value = rest.pop().partition("=")
        if flag in negated and equals:
            source.problems.append(f"{negated[flag].name} = {shown(value)} (flag {flag}): takes no value")
        elif flag in negated:
            _add(source, negated[flag], flag, "false")
        elif flag not in flags:
            known = [*flags, *negated, "--help", "--version"]
            if not flag.startswith("-"):  # a stray word is like a flag only if it is one without its dashes
                known = [name for name in known if _plain(name) == _plain(flag)]
            source.problems.append(_unknown(flag, "command line", known))
            if flag.startswith("--") and not equals and rest and not rest[-1].startswith("--"):
                rest.pop()  # its value, presumably
        elif equals:
            _add(source, flags[flag], flag, value)
        elif isinstance(flags[flag].kind, Switch):
            _add(source, flags[flag], flag, "true")
        elif rest and not rest[-1].startswith("--"):
            _add(source, flags[flag], flag, rest.pop())
        else:
            source.problems.append(f"{flags[flag].name} (flag {flag}): needs a value: {flags[flag].kind.metavar}")
    return source


def read_environ(environ: Mapping[str, str]) -> Source:
    """Every variable with the prefix. An empty one counts as not set, as composed environments need."""
    source = Source()
    variables = {setting.variable: setting for setting in (*SETTINGS, CONFIG_FILE)}
    for name in sorted(environ):
        value = environ[name]
        if not name.startswith(PREFIX) or name in _CLIENT_VARIABLES:
            continue
        if _SERVICE_NAME.fullmatch(name) or _is_service_url(name, value):
            continue
        if name not in variables:
            source.problems.append(_unknown(name, "environment", variables))
        elif value:
            source.given[variables[name].name] = Given(value=value, origin=f"environment {name}")
    return source


def read_file(path: Path, origin: str) -> Source:
    """A TOML file: settings by name, models as [[models]]. Its paths are relative to its own folder."""
    source = Source()
    where = f"{CONFIG_FILE.name} = {shown(str(path))} ({origin})"
    try:
        data: dict[str, object] = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        source.problems.append(f"{where}: cannot be read: {error.strerror}")
        return source
    except ValueError as error:
        source.problems.append(f"{where}: must be TOML in UTF-8: {error}")
        return source
    names = [setting.name for setting in SETTINGS]
    for key, value in data.items():
        if key in names:
            source.given[key] = Given(value=value, origin=f"file {path}", folder=path.parent)
        elif isinstance(value, dict):
            source.problems.append(f"{key} (file {path}): unknown table; settings are keys outside of any table")
        else:
            source.problems.append(_unknown(key, f"file {path}", names))
    return source


def _add(source: Source, setting: Setting, flag: str, value: str) -> None:
    before = source.given.get(setting.name)
    values: object = value
    if isinstance(setting.kind, ModelList):
        values = [*before.value, value] if before and isinstance(before.value, list) else [value]
    source.given[setting.name] = Given(value=values, origin=f"flag {flag}")


def _is_service_url(name: str, value: str) -> bool:
    return name.endswith("_PORT") and _SERVICE_URL.fullmatch(value) is not None


def _unknown(name: str, origin: str, names: Iterable[str]) -> str:
    """An unknown name, without its value, which may be a secret."""
    spellings = {_plain(candidate): candidate for candidate in names}
    close = get_close_matches(_plain(name), spellings, n=1)
    hint = f"; did you mean {spellings[close[0]]}?" if close else "; see --help"
    return f"{name} ({origin}): unknown{hint}"


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").strip("_")
