"""From sources to one ServerConfig, or to every problem at once.

Each of these overrides the one before it: defaults, file, environment, flags. Trap: a value is also checked if another
source overrides it. Otherwise a fault in a file would stay hidden until somebody removes the flag.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from reidstream_server.errors import ConfigError
from reidstream_server.logs import quoted
from reidstream_server.redaction import without_secrets

from .embedding_api import read_embedding_api
from .fields import Faults
from .help import answer_help
from .paths import anchored
from .rules import broken_rules
from .settings import ServerConfig
from .sources import Source, read_environ, read_file, read_flags
from .table import CONFIG_FILE, SETTINGS, Setting

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    """Good values and their origins by name; `broken` names have at least one bad value."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def load_config(argv: Sequence[str], environ: Mapping[str, str]) -> ServerConfig:
    """Read and check everything.

    `argv` is without the program's name. Reads only the file that `--config` or REIDSTREAM_CONFIG names. Whether other
    files exist, and what they hold, is checked later (`starting`).

    Raises ConfigError with all problems, one in a line, and SystemExit(0) after printing for `--help` and `--version`.
    """
    answer_help(argv)
    flags, variables = read_flags(argv), read_environ(environ)
    file = _read_named_file(flags, variables)
    merged = _Merged(problems=[*flags.problems, *variables.problems, *file.problems])
    given = (file, variables, flags)
    rising = (read_embedding_api(environ, given), *given)
    for setting in SETTINGS:
        _merge(setting, rising, merged)
    config = _build(merged.values)
    problems = [*merged.problems, *_rule_problems(config, merged)]
    if problems:
        lines = "\n".join(_one_line(problem) for problem in problems)
        raise ConfigError(lines, log_format=config.log.log_format.value)
    return config


def _read_named_file(flags: Source, variables: Source) -> Source:
    given = flags.given.get(CONFIG_FILE.name) or variables.given.get(CONFIG_FILE.name)
    if given is None:
        return Source()
    path = CONFIG_FILE.kind.parse(given.value)
    if isinstance(path, Faults):
        return Source(problems=[CONFIG_FILE.refuse(fault, given.origin) for fault in path.faults])
    return read_file(Path(str(path)), given.origin)


def _merge(setting: Setting, rising: Sequence[Source], merged: _Merged) -> None:
    """Parse what each source gives for one setting; the last good one stays."""
    merged.values[setting.name] = setting.default
    for source in rising:
        given = source.given.get(setting.name)
        if given is None:
            continue
        result = setting.kind.parse(given.value)
        if isinstance(result, Faults):
            merged.broken.add(setting.name)
            merged.problems.extend(setting.refuse(fault, given.origin) for fault in result.faults)
        else:
            merged.values[setting.name] = anchored(result, given.folder)
            merged.origins[setting.name] = given.origin


def _build(values: Mapping[str, object]) -> ServerConfig:
    parts: dict[str, object] = {}
    for item in dataclasses.fields(ServerConfig):
        if item.default_factory is dataclasses.MISSING:
            parts[item.name] = values[item.name]
        else:
            own = {setting.name: values[setting.name] for setting in SETTINGS if setting.owner == item.name}
            parts[item.name] = _make(item.default_factory, own)
    config = _make(ServerConfig, parts)
    if config.profile is None:
        return config
    models = tuple(dataclasses.replace(model, profile=model.profile or config.profile) for model in config.models)
    return dataclasses.replace(config, models=models)


def _make(make: Callable[..., T], values: Mapping[str, object]) -> T:
    """Make a group. Its kinds have parsed the values to the right types, which the type checker cannot know."""
    return make(**values)


def _rule_problems(config: ServerConfig, merged: _Merged) -> Iterator[str]:
    """The broken rules, without those of which a part was refused already."""
    for broken in broken_rules(config):
        if merged.broken.isdisjoint(broken.names):
            values = ", ".join(
                f"{setting.name} = {setting.show(merged.values[setting.name])} "
                f"({merged.origins.get(setting.name, 'default')})"
                for name in broken.shown
                for setting in SETTINGS
                if setting.name == name
            )
            yield f"{values}: {broken.rule}"


def _one_line(problem: str) -> str:
    """A problem on one line and without secrets: names and values in it may come from outside, with any characters."""
    problem = without_secrets(problem)
    return problem if problem.isprintable() else quoted(problem)[1:-1]
