"""Prints `--help` and `--version`, with argparse. Flags are read in `sources.py`.

Trap: argparse replaces `%`, so no text of the table may contain a percent sign; `--help` fails if one does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from reidstream_server import __version__

from .fields import Switch
from .table import CONFIG_FILE, SETTINGS, Setting

PROGRAM = "reidstream-server"

EXAMPLES = (
    ("The embedded default model, on this machine only", ""),
    ("A network of your own", "--model osnet.onnx --profile torchreid"),
    (
        "For other machines, with TLS and clients' tokens",
        "--host 0.0.0.0 --tls-cert-file server.pem --tls-key-file server.key --tokens-file clients.tokens",
    ),
    (
        "Two models by name; clients route boxes to them by class",
        "--model person=osnet.onnx --model vehicle=vehicles.onnx --profile fastreid",
    ),
    ("Many cameras on a large machine", "--max-batch 32 --max-queue-boxes 32768 --max-staged-bytes 4GiB"),
    ("Check a file, all that it names and the ports, and exit", "--config server.toml --dry-run"),
)
"""For each: what it does, and its flags."""

EXIT_CODES = (
    (0, "stopped; every accepted frame was answered"),
    (1, "a file, a model or a port cannot be had; the end of the log says why"),
    (2, "the configuration is wrong; every problem is printed"),
    (70, "an engine cannot go on; start the server again"),
    (75, "the drain took longer than --drain-timeout-s; some frames were not answered"),
    (129, "SIGHUP before it served: its terminal is gone"),
    (130, "SIGINT before it served; a server that serves drains and stops"),
    (143, "SIGTERM before it served"),
)
"""How the process ends, for whoever supervises it."""

_INTRODUCTION = """\
Turns frames and boxes into re-identification embeddings, as a gRPC stream.

Every setting can be given in three places: a TOML file (--config), where it has the name of its flag with _ for -
(and models are [[models]] with name, path and profile); the environment, as REIDSTREAM_ and that name in capitals; and
here. If a setting is given in several places, the last of these counts. All settings are checked, and all problems are
reported, before anything starts."""


def answer_help(argv: Sequence[str]) -> None:
    """Print and exit with 0 if the arguments ask for help or the version."""
    asked = [argument for argument in argv if argument in {"-h", "--help", "--version"}]
    if asked:
        _parser().parse_args(asked[:1])


def _parser() -> argparse.ArgumentParser:
    examples = "\n\n".join(f"  # {meaning}\n  {f'{PROGRAM} {flags}'.rstrip()}" for meaning, flags in EXAMPLES)
    codes = "\n".join(f"  {code:<3}  {meaning}" for code, meaning in EXIT_CODES)
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage="%(prog)s [--config FILE] [--model [NAME=]FILE] [--profile NAME] [--port N] [settings]",
        description=_INTRODUCTION,
        epilog=f"examples:\n{examples}\n\nexit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    sections: dict[str, argparse._ArgumentGroup] = {}
    for setting in (CONFIG_FILE, *SETTINGS):
        title = setting.group.title
        if title not in sections:
            sections[title] = parser.add_argument_group(title, setting.group.help)
        _add(sections[title], setting)
    return parser


def _add(section: argparse._ArgumentGroup, setting: Setting) -> None:
    bounds = f"; {setting.kind.range}" if setting.kind.range else ""
    text = f"{setting.about.help} [default: {setting.show(setting.default)}{bounds}]"
    if isinstance(setting.kind, Switch):
        section.add_argument(setting.flag, f"--no-{setting.flag[2:]}", action="store_true", help=text)
    else:
        section.add_argument(setting.flag, metavar=setting.kind.metavar, help=text)
