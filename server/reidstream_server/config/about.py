"""What the table of settings says of a field and of a group of them.

Why apart: every group of settings is made of these, and the table is made of the groups.
"""

from __future__ import annotations

from dataclasses import dataclass

from .fields import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the table says of a field beside its name, type and default. A secret is never shown.

    `flag` names the flag and the variable where they differ from the field ("model", since it names one of `models`).
    """

    kind: Kind
    help: str
    secret: bool = False
    flag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A heading of the help and the documentation."""

    title: str
    help: str
