"""An argument parser whose errors are one line with the next step in it.

Trap: argparse names only what is missing when an option is misspelt, so options are looked at before it reads them. Its
own suggestions exist from Python 3.14 on, and here the oldest is 3.10.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from typing_extensions import override

from reidstream_client.redaction import without_secrets


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean --output?`, or nothing where no known word is near."""
    spellings = {name.strip("-").replace("_", "-").lower(): name for name in known}
    close = get_close_matches(word.strip("-").replace("_", "-").lower(), spellings, n=1)
    return f"; did you mean {spellings[close[0]]}?" if close else ""


class Parser(argparse.ArgumentParser):
    """Prints help as it was written, takes no abbreviations, and ends with one line and status 2 for a wrong word."""

    def __init__(self, *, epilog: str = "", **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(
            epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    @override
    def parse_known_args(  # type: ignore[override]  # its overloads say the same
        self,
        args: Sequence[str] | None = None,
        namespace: Any = None,
    ) -> tuple[Any, list[str]]:
        """Also what each command's own parser is asked."""
        for word in args or ():
            if self._subparsers is not None and not word.startswith("-"):
                break  # the rest is the command's
            if word == "--":
                break
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in name and name not in self._option_string_actions:
                self.error(f"unknown option {name}{did_you_mean(name, self._option_string_actions)}")
        return super().parse_known_args(args, namespace)

    @override
    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = [] if action.choices is None else list(action.choices)
        if choices and value not in choices:
            hint = did_you_mean(str(value), choices)
            raise argparse.ArgumentError(action, f"invalid choice: {value!r} (choose from {', '.join(choices)}){hint}")

    @override
    def error(self, message: str) -> NoReturn:
        """One line, and status 2."""
        end = " See" if message.endswith("?") else "; see"
        self.exit(2, f"{self.prog}: {without_secrets(message)}{end} {self.prog} --help\n")
