"""What people see has no password in it."""

from __future__ import annotations

import pytest

from reidstream_client import InvalidRequest, ReidClient
from reidstream_client.options import ClientSettings
from reidstream_client.redaction import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:p@ss/w@10.0.0.7:554/live is no file", "rtsp://***@10.0.0.7:554/live is no file"),
        ("rtsp:/admin:sesame@cam/1 does not exist", "rtsp:/***@cam/1 does not exist"),
        ("no 'https://sesame@hub/m.onnx' here", "no 'https://***@hub/m.onnx' here"),
        ("admin:sesame@gate:50051 is not HOST:PORT", "***@gate:50051 is not HOST:PORT"),
        ("http://cam/v?user=a&password=sesame&channel=1", "http://cam/v?user=a&password=***&channel=1"),
        ("http://cam/user=admin_password=sesame", "http://cam/user=admin_password=***"),
        ("https://hub/m?access_token=sesame", "https://hub/m?access_token=***"),
    ],
)
def test_a_password_is_hidden_wherever_an_address_has_it(text: str, shown: str) -> None:
    """As people paste them: with `@` and `/` in them, without a scheme, in the query, as a path."""
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "gate:50051: is it ready? (http://docs)",
        "C:\\clips\\a.mp4",
        "frame 3: 2 boxes at 1:2",
        "mail me@example.org",
        "monkey=1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """An error is only useful with the value in it."""
    assert without_secrets(text) == text


@pytest.mark.parametrize("piece", ["a", "a:", "a:/", "a-", "@", "a@", "?token=", "x_key=", "a:b@"])
def test_a_long_text_takes_no_longer_for_its_kind(piece: str) -> None:
    """Half a million of anything: time that grew with the square of the length would be hours."""
    assert len(without_secrets(piece * 500_000)) > 0


@pytest.mark.parametrize("target", ["http://me:sesame@gate:50051", "me:sesame@gate:50051", "dns:///me:sesame@gate:1"])
def test_an_address_with_a_password_is_refused_without_it(target: str) -> None:
    """GRPC would look it up as a host name, and repeat all of it in every error."""
    with pytest.raises(InvalidRequest, match=r"\*\*\*@gate.*without a user and password; .*token=") as refused:
        ReidClient(target)
    assert "sesame" not in str(refused.value)


def test_settings_do_not_show_the_token() -> None:
    """They are printed by debuggers and loggers of all kinds."""
    word = "sesame"
    assert word not in repr(ClientSettings(token=word))
