"""Prometheus's text format, read strictly."""

from __future__ import annotations

import math

import pytest

from reidstream_client.cli.doctor.gather.exposition import NotMetrics, parse


def test_samples_and_their_sums() -> None:
    """By name, by a label, and of series whose labels say what they are."""
    page = parse(
        "# HELP a Text {with} anything\n# TYPE a counter\n"
        'a{one="x",two="y"} 1\na{one="x",two="z"} 2.5 1700000000\na{one="w"} 3\r\n\n'
        'b_info{version="1.2"} 1\nc NaN\nd +Inf\n'
    )
    assert page.value("a") == 6.5
    assert page.by_label("a", "one") == {"x": 3.5, "w": 3}
    assert page.by_label("a", "two") == {"y": 1, "z": 2.5, "": 3}
    assert page.labels("b_info") == {"version": "1.2"}
    assert math.isnan(page.value("c") or 0.0)
    assert page.value("d") == math.inf
    assert (page.value("missing"), page.by_label("missing", "x"), page.labels("missing")) == (None, {}, {})


def test_labels_may_hold_anything() -> None:
    """Escapes, braces and commas."""
    page = parse(r'a{one="q\"u\\o\nte",two="}, {"} 1')
    assert page.labels("a") == {"one": 'q"u\\o\nte', "two": "}, {"}


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "<html>", "a", "a b", "a{one=x} 1", 'a{one="x} 1', 'a{one="x" two="y"} 1', "1a 2", "a 1 2 3"],
)
def test_what_is_no_page_of_metrics_is_refused(text: str) -> None:
    """With the line; a login form must not look like a server without faults."""
    with pytest.raises(NotMetrics):
        parse(text)
