"""Where settings come from: flags, environment, file. Each becomes the same thing, a value and its origin by name.

Why not argparse for the flags: it stops at the first error, and somebody who starts a service wants all of them.
It still draws the help (`help.py`).

Trap: an environment is shared. Images and charts set REIDSTREAM_VERSION, and Kubernetes gives every pod variables named
after the services around it: one called `reidstream` brings REIDSTREAM_PORT=tcp://10.0.0.1:50051. So a variable that is
no setting stops nothing, and is only told (`unread_variables`). One exception: who misspells a setting of security
meant to keep somebody out, and would let everybody in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_VARIABLES = {setting.variable: setting for setting in (*SETTINGS, CONFIG_FILE)}
_SECURITY = "security"
_NEAR = 0.75  # of names without their prefix: VERSION is not near to PRECISION


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A variable that begins like ours and sets nothing. The value is not shown, since it may be a secret."""

    variable: str
    reason: str


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
    """The variables that are settings. An empty one counts as not set, as composed environments need.

    A name that is nearly one of a security setting is a problem; other strangers are left to `unread_variables`.
    """
    source = Source()
    for name, value in _with_our_prefix(environ):
        if _is_service_url(name, value):
            continue
        setting = _VARIABLES.get(name)
        if setting is None:
            near = _nearest(name)
            if near is not None and near.owner == _SECURITY:
                source.problems.append(f"{name} (environment): unknown; did you mean {near.variable}?")
        elif value:
            source.given[setting.name] = Given(value=value, origin=f"environment {name}")
    return source


def unread_variables(environ: Mapping[str, str]) -> Iterator[Unread]:
    """Those that begin like ours and set nothing, each with what to do; without those that are surely for others."""
    for name, value in _with_our_prefix(environ):
        if name in _VARIABLES:
            if _is_service_url(name, value):
                yield Unread(
                    variable=name,
                    reason="it has the address of a Kubernetes service, not a value of this setting. Set "
                    "enableServiceLinks: false in the pod's spec, or the variable in the container's env",
                )
        elif not _is_service_url(name, value):
            near = _nearest(name)
            hint = f"did you mean {near.variable}?" if near is not None else "see --help for those that have"
            yield Unread(variable=name, reason=f"no setting has this name; {hint}")


def _with_our_prefix(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names and values in order, without what others read: the client, and programs that look for a service."""
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in _CLIENT_VARIABLES and not _SERVICE_NAME.fullmatch(name):
            yield name, environ[name]


def _nearest(variable: str) -> Setting | None:
    """The setting that was probably meant: spelt nearly so, or with another word at its end."""
    names = {name.removeprefix(PREFIX): setting for name, setting in _VARIABLES.items()}
    given = variable.removeprefix(PREFIX).upper()
    shortened = [name for name in names if name.startswith(f"{given}_")]
    close = shortened or get_close_matches(given, names, n=1, cutoff=_NEAR)
    return names[close[0]] if close else None


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
