"""Which form of a page a caller gets, for whatever it says that it reads."""

from __future__ import annotations

import pytest

from reidstream_server.transport.operators.negotiation import chosen, reads_gzip

PLAIN, OPEN = 0, 1
FORMS = ("text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8")
OPEN_TYPE = "application/openmetrics-text"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        pytest.param("", PLAIN, id="nothing"),
        pytest.param("*/*", PLAIN, id="everything"),
        pytest.param("application/json", PLAIN, id="neither"),
        pytest.param(OPEN_TYPE, OPEN, id="no version is the oldest, 1.0.0"),
        pytest.param(f"{OPEN_TYPE}; version=1.0.0", OPEN, id="its version"),
        pytest.param(f'{OPEN_TYPE}; version="1.0.0"; charset=utf-8', OPEN, id="quoted"),
        pytest.param(f"{OPEN_TYPE.upper()};VERSION=1.0.0", OPEN, id="capitals"),
        pytest.param(f"{OPEN_TYPE}; version=2.0.0", PLAIN, id="a version that is not there"),
        pytest.param(f"{OPEN_TYPE}; version=2.0.0, {OPEN_TYPE}; version=1.0.0; q=0.1", OPEN, id="an older one, too"),
        pytest.param(f"{OPEN_TYPE}; version=1.0.0; escaping=allow-utf-8", OPEN, id="names are plain anyway"),
        pytest.param(f"{OPEN_TYPE};q=0.2, text/plain;q=0.5", PLAIN, id="the weight decides"),
        pytest.param(f"text/plain;q=0.2, {OPEN_TYPE};q=0.5", OPEN, id="the weight, not the order"),
        pytest.param(f"{OPEN_TYPE};q=0, */*", PLAIN, id="one that it does not take"),
        pytest.param(f"text/plain;q=0, {OPEN_TYPE};q=0", PLAIN, id="it takes none"),
        pytest.param(f"*/*, {OPEN_TYPE}", OPEN, id="the one that it names"),
        pytest.param(f"{OPEN_TYPE};q=0.3, application/*;q=0.9, text/plain;q=0.5", PLAIN, id="the most precise range"),
        pytest.param("application/*", OPEN, id="by its kind"),
        pytest.param(f"{OPEN_TYPE};q=high, text/plain;q=0.1", PLAIN, id="a weight that is none"),
        pytest.param(f"{OPEN_TYPE};q=nan", PLAIN, id="not a number"),
        pytest.param(f",;,=;q,{OPEN_TYPE};;q=1;=", OPEN, id="rubbish around it"),
        pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PLAIN, id="a browser"),
        pytest.param(
            f"{OPEN_TYPE};version=1.0.0,{OPEN_TYPE};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPEN,
            id="Prometheus 2",
        ),
        pytest.param(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
            f"{OPEN_TYPE};version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4",
            PLAIN,
            id="protobuf and an OpenMetrics before its standard",
        ),
    ],
)
def test_a_caller_gets_what_it_likes_best_of_what_there_is(accept: str, form: int) -> None:
    """By its weights; and the plain form where it does not choose."""
    assert chosen(accept, FORMS) == form


@pytest.mark.parametrize(
    ("header", "reads"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*, gzip;q=0", False),
        ("identity", False),
        ("gzip;q=x", False),
    ],
)
def test_a_page_is_compressed_for_whoever_reads_that(header: str, *, reads: bool) -> None:
    """And for nobody else."""
    assert reads_gzip(header) is reads


def test_a_long_list_of_ranges_is_read_at_once() -> None:
    """As much as a request may hold costs as many steps as it has ranges."""
    assert chosen("a/b;c=d," * 1000 + OPEN_TYPE, FORMS) == OPEN
