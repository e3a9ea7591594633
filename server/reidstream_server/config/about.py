"""The notes on a setting, and on a group of settings, from which the table of settings is made.

Why apart: every group of settings uses these, and the table is made of the groups.
"""

from __future__ import annotations

from dataclasses import dataclass

from .fields import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the table says about a field, besides name, type and default. A `secret` value is never shown.

    `flag` names the flag and the variable if they differ from the field ("model", since each names one of `models`).
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
