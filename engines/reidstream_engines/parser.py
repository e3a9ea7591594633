"""An argument parser whose errors are one line with the next step in it.

Trap: argparse names only what is missing when an option is misspelt, so options are looked at before it reads them. Its
own suggestions exist from Python 3.14 on, and older ones are in use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from typing_extensions import override

from .redaction import without_secrets


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean --output?`, or nothing where no known word is near."""
    spellings = {name.strip("-").replace("_", "-").lower(): name for name in known}
    close = get_close_matches(word.strip("-").replace("_", "-").lower(), spellings, n=1)
    return f"; did you mean {spellings[close[0]]}?" if close else ""


class Parser(argparse.ArgumentParser):
    """Ends with one line and status 2 for a wrong word, and names the word that was meant."""

    @override
    def parse_known_args(  # type: ignore[override]  # its overloads say the same
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's, which asks it of every command's own parser too."""
        words = sys.argv[1:] if args is None else args
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break  # the rest is no option, or a command's
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in name and not self._knows(name):
                self.error(f"unknown option {name}{did_you_mean(name, self._option_string_actions)}")
        return super().parse_known_args(words, namespace)

    @override
    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = [] if action.choices is None else [str(choice) for choice in action.choices]
        if choices and value not in choices:
            hint = did_you_mean(str(value), choices)
            raise argparse.ArgumentError(action, f"invalid choice: {value!r} (choose from {', '.join(choices)}){hint}")

    @override
    def error(self, message: str) -> NoReturn:
        """One line, and status 2."""
        end = " See" if message.endswith("?") else "; see"
        self.exit(2, f"{self.prog}: {without_secrets(message)}{end} {self.prog} --help\n")

    def _knows(self, name: str) -> bool:
        known = self._option_string_actions
        return name in known or (self.allow_abbrev and any(option.startswith(name) for option in known))
