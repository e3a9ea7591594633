"""What stands in several packages, because none of them may know another: the copies say the same."""

from __future__ import annotations

import argparse

import pytest

from reidstream_client import redaction as of_client
from reidstream_client.cli import parser as client_parser
from reidstream_engines import parser as engines_parser
from reidstream_engines import redaction as of_engines
from reidstream_synthetic import parser as synthetic_parser

PARSERS: tuple[type[argparse.ArgumentParser], ...] = (
    client_parser.Parser,
    engines_parser.Parser,
    synthetic_parser.Parser,
)


@pytest.mark.parametrize("kind", PARSERS, ids=["client", "engines", "synthetic"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("draw --ouput x", "program draw: unknown option --ouput; did you mean --output? See program draw --help\n"),
        ("draw --wholly", "program draw: unknown option --wholly; see program draw --help\n"),
        ("darw", "invalid choice: 'darw' (choose from draw, list); did you mean draw? See program --help\n"),
        (
            "draw --kind phots",
            "invalid choice: 'phots' (choose from photo, plan); did you mean photo? See program draw",
        ),
    ],
)
def test_a_misspelt_word_is_told_in_the_same_words(
    kind: type[argparse.ArgumentParser], words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and status 2."""
    program = kind(prog="program", allow_abbrev=False)
    commands = program.add_subparsers(required=True, metavar="COMMAND")
    draw = commands.add_parser("draw", allow_abbrev=False)
    draw.add_argument("--output")
    draw.add_argument("--kind", choices=["photo", "plan"])
    commands.add_parser("list")
    with pytest.raises(SystemExit) as ended:
        program.parse_args(words.split())
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("rtsp://user:pw@camera/1 is no video", "rtsp://***@camera/1 is no video"),
        ("https://me:p@ss/word@host/m.onnx", "https://***@host/m.onnx"),
        ("https:/me:pw@host", "https:/***@host"),
        ("http://host/m?token=abc&size=3", "http://host/m?token=***&size=3"),
        ("http://host/m?X-Amz-Signature=abc", "http://host/m?X-Amz-Signature=***"),
        ("/data/osnet.onnx, 3 boxes", "/data/osnet.onnx, 3 boxes"),
    ],
)
def test_the_same_secrets_are_hidden(text: str, seen: str) -> None:
    """The client's hides `user:password@host` without a scheme as well, where no camera has such a name."""
    assert of_engines.without_secrets(text) == of_client.without_secrets(text) == seen
