"""What is said about the configuration: help, the printed configuration, the documentation."""

import dataclasses
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from reidstream_server.app import EXIT_DRAIN_TIMEOUT, EXIT_ENGINE_LOST
from reidstream_server.cli import EXIT_CONFIG, EXIT_STARTUP
from reidstream_server.config import ModelFile, ServerConfig, load_config, redacted, render_markdown
from reidstream_server.config.about import About, Group
from reidstream_server.config.fields import Fault, Text
from reidstream_server.config.help import EXAMPLES, EXIT_CODES
from reidstream_server.config.render import toml_line
from reidstream_server.config.table import CONFIG_FILE, SETTINGS, Setting, rows
from reidstream_server.stopping import ToldToStop

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def printed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        load_config(argv, {})
    assert caught.value.code == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.usefixtures("wide")
def test_help_shows_every_flag_with_default_and_range(capsys: pytest.CaptureFixture[str]) -> None:
    """Grouped, with examples, also when other arguments are wrong."""
    text = printed(["--nonsense", "--help"], capsys)
    for setting in (*SETTINGS, CONFIG_FILE):
        assert f"  {setting.flag}" in text
        assert f"[default: {setting.show(setting.default)}" in text
        assert setting.kind.range in text
        assert f"\n{setting.group.title}:\n" in text
    assert "--no-spinning" in text
    assert "[default: 64 MiB; 4 KiB to 1 GiB]" in text
    for meaning, flags in EXAMPLES:
        assert meaning in text
        assert flags in text


def test_every_exit_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Where an operator looks: in the help, and on the page of settings."""
    signals = {ToldToStop(number).exit_code for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    ours = {0, EXIT_STARTUP, EXIT_CONFIG, EXIT_ENGINE_LOST, EXIT_DRAIN_TIMEOUT, *signals}
    assert {code for code, _ in EXIT_CODES} == ours
    text, page = printed(["--help"], capsys), render_markdown()
    for code, meaning in EXIT_CODES:
        assert f"\n  {code:<3}  {meaning}\n" in text
        assert f"\n| {code} | {meaning} |\n" in page


@pytest.mark.usefixtures("wide")
def test_short_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """-h is --help; --version is the distribution's."""
    assert printed(["-h"], capsys) == printed(["--help"], capsys)
    assert printed(["--version"], capsys) == f"reidstream-server {version('reidstream-server')}\n"


@pytest.mark.parametrize("flags", [flags for _, flags in EXAMPLES if "--config" not in flags])
def test_the_examples_are_valid(flags: str) -> None:
    """What help and documentation show can be typed."""
    load_config(shlex.split(flags), {})


def test_the_printed_configuration_is_a_file_that_reads_back(tmp_path: Path) -> None:
    """Defaults and odd values alike: what was printed at a start can be started again."""
    model = ModelFile(name="a", path=Path('/srv/"odd" \x7f\n\u202e.onnx'), profile="tao")
    plain = ServerConfig()
    odd = dataclasses.replace(
        plain,
        models=(model, ModelFile(name="b", path=Path("/b.onnx"))),
        limits=dataclasses.replace(plain.limits, max_answer_bytes=1025, max_queue_boxes=10_000_000),
        scheduling=dataclasses.replace(plain.scheduling, linger_ms=0.1),
        engine=dataclasses.replace(plain.engine, providers=("A", "B"), spinning=True),
    )
    for config in (plain, odd):
        path = tmp_path / "printed.toml"
        path.write_text(redacted(config))
        assert load_config(["--config", str(path)], {}) == config


def test_the_printed_configuration_is_plain_lines() -> None:
    """Every setting with a value has its line, and nothing in a value can start another."""
    config = dataclasses.replace(ServerConfig(), models=(ModelFile(name="a", path=Path("x\nport = 1\x1b[2J")),))
    lines = redacted(config).split("\n")
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith("port = ") for line in lines) == 1
    assert [line.partition(" ")[0] for line in lines[:2]] == ["host", "port"]


def secret() -> Setting:
    kind = Text(pattern="[a-z]+", allowed="letters")
    group = Group(title="", help="")
    return Setting(name="token", owner="", group=group, about=About(kind=kind, help="", secret=True), default=None)


def test_a_secret_is_shown_nowhere() -> None:
    """Neither in the printed configuration nor in a refusal; that there is none may be seen."""
    setting = secret()
    assert toml_line(setting, "hunter") == 'token = "***"'
    assert setting.show("hunter") == "***"
    assert setting.show(None) == "none"
    refusal = setting.refuse(Fault(value="hunter2", message="must be letters"), "environment REIDSTREAM_TOKEN")
    assert refusal == "token = *** (environment REIDSTREAM_TOKEN): must be letters"


def test_the_table_is_the_classes() -> None:
    """Each field of the configuration and of its groups is a row, and there are no others."""
    config = ServerConfig()
    groups = [item.name for item in dataclasses.fields(config) if item.default_factory is not dataclasses.MISSING]
    names = [item.name for item in dataclasses.fields(config) if item.name not in groups]
    names += [item.name for group in groups for item in dataclasses.fields(getattr(config, group))]
    assert [setting.name for setting in rows(ServerConfig)] == names
    for setting in SETTINGS:
        holder = getattr(config, setting.owner) if setting.owner else config
        assert getattr(holder, setting.name) == setting.default


def test_the_documentation_is_fresh() -> None:
    """docs/configuration.md is what the code says; `python -m reidstream_server.config` writes it."""
    assert PAGE.read_text() == render_markdown()


def test_the_documentation_can_be_printed() -> None:
    """The command in the page's own head works."""
    command = [sys.executable, "-W", "error", "-m", "reidstream_server.config"]
    result = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    assert (result.stdout, result.stderr) == (render_markdown(), "")


def test_the_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    """The TOML block loads, and every setting has a row with its flag and variable."""
    page = render_markdown()
    [block] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "server.toml"
    path.write_text(block)
    config = load_config(["--config", str(path)], {})
    assert [(model.name, model.profile) for model in config.models] == [
        ("person", "torchreid"),
        ("vehicle", "fastreid"),
    ]
    for setting in (*SETTINGS, CONFIG_FILE):
        assert f"| `{setting.name}`<br>`{setting.flag}`<br>`{setting.variable}` |" in page
