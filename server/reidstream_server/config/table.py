"""The table of settings, read from the dataclasses.

Why apart from `settings.py`: flags, environment, files, help and documentation want rows and names; the server wants
typed attributes. Trap: the rows are in the order of the classes, and that is the order of the help.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_type_hints

from .about import About, Group
from .fields import Fault, Kind, Text, shown
from .settings import ServerConfig

PREFIX = "REIDSTREAM_"
HIDDEN = "***"
_MODELS = Group(title="Models", help="What is served.")
_FILE = Group(title="Configuration file", help="Where settings are read from, beside flags and environment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A row. `owner` is the field of ServerConfig whose class has this field; "" for ServerConfig itself."""

    name: str
    owner: str
    group: Group
    about: About
    default: object

    @property
    def kind(self) -> Kind:
        """Its kind of value."""
        return self.about.kind

    @property
    def flag(self) -> str:
        """As a command line flag."""
        return "--" + (self.about.flag or self.name).replace("_", "-")

    @property
    def variable(self) -> str:
        """As an environment variable."""
        return PREFIX + (self.about.flag or self.name).upper()

    def show(self, value: object) -> str:
        """A value as text, "none" for none; a secret's is hidden."""
        if value is None or value == ():
            return "none"
        return HIDDEN if self.about.secret else self.kind.show(value)

    def refuse(self, fault: Fault, origin: str) -> str:
        """What is wrong with a value that was given, and where it was given."""
        value = HIDDEN if self.about.secret else shown(fault.value)
        return f"{self.name}{fault.key} = {value} ({origin}): {fault.message}"


def rows(config: type, owner: str = "", group: Group = _MODELS) -> Iterator[Setting]:
    """The settings of a configuration class and of the groups inside it."""
    hints = get_type_hints(config, include_extras=True)
    for item in dataclasses.fields(config):
        note = next(iter(getattr(hints[item.name], "__metadata__", ())), None)
        if isinstance(note, About):
            yield Setting(name=item.name, owner=owner, group=group, about=note, default=item.default)
        elif isinstance(note, Group):
            yield from rows(hints[item.name].__origin__, item.name, note)


CONFIG_FILE = Setting(
    name="config",
    owner="",
    group=_FILE,
    about=About(
        kind=Text(pattern=r"[^\0]+", allowed="the path of a TOML file", metavar="FILE"),
        help="A TOML file whose keys are the names of the settings.",
    ),
    default=None,
)
"""Not a part of ServerConfig: it says where to read the others."""

SETTINGS = tuple(rows(ServerConfig))
"""Every field of ServerConfig, in order."""
