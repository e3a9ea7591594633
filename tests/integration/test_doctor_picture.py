"""The picture of `doctor` in the documentation is what the command says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reidstream_client.cli.doctor.judge.everything import judge
from reidstream_client.cli.doctor.seen import Asked, Seen
from tests.support.doctor_picture import in_the_page, take_picture, without_figures
from tests.support.terminal_svg import svg_of, words_of


@pytest.mark.needs("openssl")
async def test_the_picture_is_what_doctor_says_of_a_real_server() -> None:
    """But for its figures, and what depends on the machine. If this fails: `make pictures` makes it anew."""
    made = without_figures(words_of(await take_picture()))
    assert len(made) > 20
    assert without_figures(in_the_page()) == made


def test_a_picture_has_its_text_as_text() -> None:
    """Line by line, whatever stands there, with colours beside it."""
    svg = svg_of("a & b", "$ x <y> & z\n\n\x1b[33mwarning\x1b[0m  more")
    assert words_of(svg) == ["$ x <y> & z", "warning  more"]
    assert '<tspan fill="#e3b341">warning</tspan>  more' in svg


def test_the_clients_page_names_every_check_of_doctor() -> None:
    """In its table, and no check that there is not."""
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
    table = page.partition("| check | what it looks at |")[2].partition("\n\n")[0]
    named = re.findall(r"`([^`]+)`", "".join(line.split("|")[1] for line in table.splitlines() if line))
    assert named == [*dict.fromkeys(named)]
    blind = Seen(asked=Asked(target="gate:1", version="1", timeout_s=1), now_unix_s=0)
    assert set(named) == {finding.check for finding in judge(blind)}
