"""`make attack`: every attack in turn against a server of its own; a table, and exit code 1 if one did harm."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.machine.outputs import output_file
from reidstream_engines.parser import Parser, did_you_mean

from .catalogue import ATTACKS, Attack
from .measuring.processes import Failed
from .measuring.run import Outcome, Plan, run_attack
from .measuring.verdicts import failures
from .report import as_json, header, row, summary

_OUTPUT = Path("out/attacks.json")
_OVERHEAD_S = 20
_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    if options.list:
        print("\n".join(f"{attack.name:18} {attack.about}" for attack in ATTACKS))
        return 0
    unknown = [name for name in options.names if name not in {attack.name for attack in ATTACKS}]
    if unknown:
        hint = did_you_mean(unknown[0], [attack.name for attack in ATTACKS])
        print(f"python -m tests.attacks: no attack {unknown[0]!r}{hint}; --list names them", file=sys.stderr)
        return _USAGE
    chosen = [attack for attack in ATTACKS if not options.names or attack.name in options.names]
    plan = Plan(
        calm_s=options.calm, attack_s=options.seconds, frames_per_s=options.rate, server_arguments=options.server
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(chosen, plan, options.output)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was left running", file=sys.stderr)
        return _INTERRUPTED


def _run(chosen: Sequence[Attack], plan: Plan, output: Path) -> int:
    controls = frozenset(attack.name for attack in ATTACKS if attack.control)
    took_s = plan.calm_s + plan.attack_s + _OVERHEAD_S
    print(f"{len(chosen)} attacks, about {took_s * len(chosen) / 60:.0f} minutes", file=sys.stderr)
    print(header(), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    broken = False
    for number, attack in enumerate(chosen, 1):
        progress = _Progress(f"[{number}/{len(chosen)}] {attack.name}")
        try:
            outcome = run_attack(attack, plan, progress)
        except Failed as error:
            progress.clear()
            print(f"{attack.name:18} could not be run: {error}", flush=True)
            broken = True
            continue
        progress.clear()
        outcomes.append(outcome)
        print(row(outcome, control=attack.control), flush=True)
        output.write_text(json.dumps([as_json(one) for one in outcomes], indent=1) + "\n")
    print(f"{summary(outcomes, controls)}; everything is in {output}")
    harmed = any(failures(one) for one in outcomes if one.attack not in controls)
    return _FAILED if harmed or broken else 0


class _Progress:
    """One line on stderr that changes; without a terminal, a line for each phase."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._phase = ""
        self._began = time.monotonic()

    def __call__(self, phase: str) -> None:
        """A phase begins; "" says that it goes on."""
        if phase:
            self._phase = phase
        if sys.stderr.isatty():
            seconds = time.monotonic() - self._began
            print(f"\r\033[K{self._title}: {self._phase} ({seconds:.0f} s)", end="", file=sys.stderr, flush=True)
        elif phase:
            print(f"{self._title}: {phase}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """The line is gone."""
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m tests.attacks",
        description="Attacks a server of its own, each attack in turn, and measures a camera beside it.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these attacks (default: all)")
    parser.add_argument("--list", action="store_true", help="name the attacks, and end")
    parser.add_argument("--seconds", type=float, default=12, metavar="S", help="of each attack (default 12)")
    parser.add_argument("--calm", type=float, default=8, metavar="S", help="before each attack (default 8)")
    parser.add_argument("--rate", type=float, default=5, metavar="N", help="frames/s of the victim (default 5)")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="FLAG",
        help="for the server, such as --server=--cores=1",
    )
    parser.add_argument(
        "--output", type=output_file, default=_OUTPUT, metavar="FILE", help=f"the results as JSON (default {_OUTPUT})"
    )
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt
