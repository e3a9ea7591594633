"""What every command has in common: Ctrl-C while it loads, `| head`, and a word that was meant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench.__main__ import main as bench
from demo.command import main as demo
from reidstream_client.cli import main as client
from reidstream_engines.cli import main as engines
from reidstream_server.cli import main as server
from reidstream_synthetic.cli import main as synthetic
from tests.support.patience import HANG_S

ROOT = Path(__file__).parents[2]
# As their scripts begin.
PROCESSES = {
    "client": "from reidstream_client.cli import main; sys.exit(main())",
    "engines": "from reidstream_engines.process import main; sys.exit(main())",
    "server": "from reidstream_server.process import main; sys.exit(main())",
    "synthetic": "import runpy; runpy.run_module('reidstream_synthetic', run_name='__main__')",
    "demo": "import runpy; runpy.run_module('demo', run_name='__main__')",
    "bench": "import runpy; runpy.run_module('bench', run_name='__main__')",
}
INTERRUPTED_IN_AN_IMPORT = """
import signal, sys

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupted())
"""


def process(name: str, *words: str, before: str = "", stdout: int = subprocess.PIPE) -> tuple[int, str]:
    """A command's exit status and what it wrote to stderr."""
    program = [sys.executable, "-c", f"{before}\nimport sys\n{PROCESSES[name]}", *words]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        program, stdout=stdout, stderr=subprocess.PIPE, cwd=ROOT, env=buffered, text=True, timeout=HANG_S, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["client", "engines", "demo", "bench"])
def test_an_interrupt_while_libraries_are_loaded_is_one_word(name: str) -> None:
    """No traceback of somebody else's import, and a shell's status for Ctrl-C."""
    assert process(name, "--help", before=INTERRUPTED_IN_AN_IMPORT) == (130, "interrupted\n")


def test_an_interrupt_while_the_server_loads_is_one_event() -> None:
    """It reads its configuration before it loads anything heavy, so it knows how its log is written."""
    status, said = process("server", "--port", "0", "--metrics-port", "0", before=INTERRUPTED_IN_AN_IMPORT)
    assert status == 130
    assert "stopped_before_serving signal=SIGINT exit_code=130" in said.splitlines()[-1]
    assert "Traceback" not in said


@pytest.fixture
def nobody_reads() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("name", PROCESSES)
def test_help_whose_reader_has_gone_is_no_error(name: str, nobody_reads: int) -> None:
    """`| head` has seen enough, and nothing is printed about it. Python itself may forgive an unwritten help."""
    status, said = process(name, "--help", stdout=nobody_reads)
    assert said == ""
    assert status in {0, 141}


def test_output_whose_reader_has_gone_ends_a_command_quietly(nobody_reads: int) -> None:
    """With the status that a shell shows for a closed pipe, so that a script which looks can know."""
    assert process("engines", "inspect", "default", stdout=nobody_reads) == (141, "")


@pytest.mark.parametrize(
    ("main", "words", "meant"),
    [
        (client, ["straem"], "did you mean stream?"),
        (client, ["info", "--jsno"], "did you mean --json?"),
        (engines, ["inspct", "default"], "did you mean inspect?"),
        (engines, ["tune", "default", "--second", "1", "--proflie", "x"], "did you mean --profile?"),
        (server, ["--max-bacth", "4"], "did you mean --max-batch?"),
        (synthetic, ["out", "--poeple", "3"], "did you mean --people?"),
        (demo, ["--sever", "a:1"], "did you mean --server?"),
        (bench, ["overlaod"], "did you mean overload?"),
        (bench, ["soak", "--farmes", "9"], "did you mean --frames?"),
        (bench, ["--scenaro", "tiny"], "did you mean --scenario?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_one_that_was_meant(
    main: Callable[[Sequence[str]], int], words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option or a command; on one line, with the status of wrong usage."""
    try:
        status: object = main(words)
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr().err
    assert status == 2
    assert meant in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("main", [client, engines, synthetic, demo])
def test_a_word_that_nobody_could_mean_is_answered_with_the_help(
    main: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A guess that is wrong would be worse than none."""
    try:
        main(["--zzzzzzzz"])
    except SystemExit as end:
        assert end.code == 2  # noqa: PT017 - one of them returns it
    said = capsys.readouterr().err
    assert "unknown option --zzzzzzzz; see " in said
    assert said.endswith(" --help\n")
