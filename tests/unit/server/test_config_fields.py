"""The kinds of value: what each reads, refuses and shows."""

import inspect
import math

import pytest
import tomllib
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_server.config.fields import (
    ByteSize,
    Duration,
    Faults,
    Kind,
    NameList,
    NumberOf,
    OneOf,
    Switch,
    Text,
    WholeNumber,
    shown,
)
from reidstream_server.config.hosts import Host
from reidstream_server.config.model_files import ModelList
from reidstream_server.config.paths import FilePath
from reidstream_server.config.table import SETTINGS, Setting
from reidstream_server.logs import LogLevel

NUMBER = WholeNumber(low=-5, high=2_000_000, unit="boxes")
DURATION = Duration(low=0, high=1000, unit="ms")
SIZE = ByteSize(low=1, high=2**40)
HOST = Host(flag="--host", port_flag="--port")


def refused(result: object) -> bool:
    return isinstance(result, Faults)


@pytest.mark.parametrize(("text", "value"), [("7", 7), (" 7 ", 7), ("-5", -5), ("2_000_000", 2_000_000), (7, 7)])
def test_whole_numbers(text: object, value: int) -> None:
    """Text or int, both bounds included."""
    assert NUMBER.parse(text) == value


@pytest.mark.parametrize("bad", ["", "x", "1.0", "-6", "2000001", "1e3", "0x10", 7.0, True, None, [7], "9" * 5000])
def test_what_is_no_whole_number(bad: object) -> None:
    """A boolean is an int to Python only."""
    assert refused(NUMBER.parse(bad))


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1e3", 1000.0), ("0.5", 0.5), (3, 3.0), (0.25, 0.25)])
def test_durations(text: object, value: float) -> None:
    """Text, int or float, both bounds included; always a float."""
    result = DURATION.parse(text)
    assert result == value
    assert isinstance(result, float)


@pytest.mark.parametrize(
    "bad", ["", "nan", "inf", "-inf", "1000.1", "-0.1", "5s", math.nan, math.inf, True, None, 10**400, "1e999"]
)
def test_what_is_no_duration(bad: object) -> None:
    """Not a number, infinite, out of range, or with a unit of its own."""
    assert refused(DURATION.parse(bad))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("64MiB", 64 * 2**20),
        ("64 mib", 64 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("0.001 KB", 1),
        ("2kb", 2000),
        ("3 GB", 3 * 10**9),
        ("1TiB", 2**40),
        ("5 B", 5),
        (4096, 4096),
    ],
)
def test_sizes(text: object, value: int) -> None:
    """Whole bytes, or a binary or decimal unit in any case; fractions where whole bytes come out."""
    assert SIZE.parse(text) == value


@pytest.mark.parametrize(
    "bad", ["", "MiB", "0", "-1", "1.5", "0.0001 KB", "5M", "5 K", "5 mebibytes", "1 2", "1e3", "2TiB", 1.0, True, None]
)
def test_what_is_no_size(bad: object) -> None:
    """M alone is refused, since it may mean either."""
    assert refused(SIZE.parse(bad))


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=2**40))
def test_a_size_is_shown_exactly(size: int) -> None:
    """However it is shown, it reads back to the same number of bytes."""
    assert SIZE.parse(SIZE.show(size)) == size


@pytest.mark.parametrize("text", ["true", "True", "yes", "on", "1", True])
def test_switches_on(text: object) -> None:
    """The usual words, in any case."""
    assert Switch().parse(text) is True


@pytest.mark.parametrize("text", ["false", "NO", "off", "0", False])
def test_switches_off(text: object) -> None:
    """The usual words, in any case."""
    assert Switch().parse(text) is False


@pytest.mark.parametrize("bad", ["", "2", "y", 1, 0, None])
def test_what_is_no_switch(bad: object) -> None:
    """Numbers of a file are numbers."""
    assert refused(Switch().parse(bad))


def test_closed_sets() -> None:
    """A member by its value, exactly."""
    kind = OneOf(members=LogLevel)
    assert kind.parse("warning") is LogLevel.WARNING
    assert refused(kind.parse("WARNING"))
    assert refused(kind.parse("warn"))


def test_a_few_numbers() -> None:
    """As text or typed; to Python True and 2.0 are numbers, too."""
    kind = NumberOf(numbers=(1, 2, 4))
    assert [kind.parse(given) for given in ("4", 2)] == [4, 2]
    for bad in ("3", 3, "2.0", 2.0, True, "", None):
        assert refused(kind.parse(bad))


def test_text_matches_as_a_whole() -> None:
    """Also to its very end: a line break there is not a match."""
    kind = Text(pattern="[a-z]+", allowed="letters")
    assert kind.parse("abc") == "abc"
    assert refused(kind.parse("abc\n"))
    assert refused(kind.parse("abc1"))


@pytest.mark.parametrize("bad", ["", ",", "A,", "A,A", "A B", [], ["A", 1], ["A", "A"], True, None])
def test_what_is_no_list_of_names(bad: object) -> None:
    """Empty, repeated, odd, or not text."""
    assert refused(NameList().parse(bad))


def test_lists_of_names_keep_their_order() -> None:
    """The first is the preferred one; blanks do not count."""
    assert NameList().parse("B, A") == ("B", "A")
    assert NameList().parse(["B", "A"]) == ("B", "A")


def test_a_refusal_says_value_and_range() -> None:
    """The message completes what an operator needs to know."""
    result = NUMBER.parse("x")
    assert isinstance(result, Faults)
    [fault] = result.faults
    assert (fault.value, fault.message) == ("x", "must be a whole number, -5 to 2_000_000 boxes")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_default_is_of_its_own_kind(setting: Setting) -> None:
    """A default is within its range, and what is shown of it reads back to it."""
    if setting.default is None or setting.default == ():
        assert setting.show(setting.default) == "none"
    else:
        assert setting.kind.parse(setting.show(setting.default)) == setting.default


@settings(deadline=None)
@given(st.text())
def test_a_shown_value_stays_on_its_line(text: str) -> None:
    """Whatever was given, it is printable, short, and if not cut, the same text to TOML."""
    result = shown(text)
    assert result.isprintable()
    assert len(result) <= 83
    if not result.endswith("...") and not any("\ud800" <= character <= "\udfff" for character in text):
        assert tomllib.loads(f"x = {result}") == {"x": text}


@pytest.mark.parametrize("host", ["gate-1.example.org", "127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1%eth0", "a_b"])  # noqa: S104
def test_hosts(host: str) -> None:
    """Names and addresses, an interface's name behind them where one is needed."""
    assert HOST.parse(host) == host


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("127.0.0.1:50051", "the port is given by itself: --host 127.0.0.1 --port 50051"),
        ("localhost:0", "the port is given by itself: --host localhost --port 0"),
        ("[::1]:50051", "the port is given by itself: --host ::1 --port 50051"),
        (":50051", "the port is given by itself: --port 50051"),
        ("localhost:99999", "the port is given by itself: --port, 0 to 65535"),
        ("localhost:", "the port is given by itself: --port, 0 to 65535"),
        ("http://gate", "leave out http://"),
        ("[::1]", "write ::1"),
        ("*", "0.0.0.0 or :: is every interface"),
    ],
)
def test_what_people_write_into_a_host_is_answered_with_what_is_right(given: str, advice: str) -> None:
    """Which flag takes the port, above all."""
    result = HOST.parse(given)
    assert isinstance(result, Faults)
    assert result.faults[0].message == f"must be {HOST.allowed}; {advice}"


@pytest.mark.parametrize("bad", ["", "a b", "a:b:c", "fe80::1%", "::1%a\nb", "h" * 254, 7, True, ["a"]])
def test_what_is_no_host(bad: object) -> None:
    """Whatever else is refused without a guess."""
    result = HOST.parse(bad)
    assert isinstance(result, Faults)
    assert result.faults[0].message == f"must be {HOST.allowed}"


@pytest.mark.parametrize(
    "kind", [WholeNumber, Duration, ByteSize, Switch, OneOf, NumberOf, Text, NameList, FilePath, Host, ModelList]
)
def test_every_kind_implements_all_of_kind(kind: type) -> None:
    """None is abstract, and the base gives none of them a dict."""
    assert Kind in kind.__bases__
    assert not inspect.isabstract(kind)
    assert not hasattr(object.__new__(kind), "__dict__")


def test_an_inherited_property_is_no_default() -> None:
    """`allowed` of Text is required, though Kind has a property of that name."""
    with pytest.raises(TypeError, match="allowed"):
        Text(pattern="x")  # type: ignore[call-arg]
