"""The port of metrics and probes: three pages, and the metrics once more at the end.

Why twice: what counts up says little by itself; the difference of two looks says what happens now.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from reidstream_client.cli.doctor.seen import Look, Operators
from reidstream_client.cli.top.writing import name as printable

from .exposition import NotMetrics, parse
from .web import Page, Url, WebFailed, get

DEFAULT_PORT: Final = 9464
_SHOWN: Final = 100


async def first_look(url: Url, timeout_s: float) -> Operators:
    """Metrics, and what the probes say if they are on the same port."""
    try:
        page = await get(url, timeout_s)
    except WebFailed as failed:
        return Operators(url=str(url), error=str(failed))
    found = _with(Operators(url=str(url)), page)
    if page.status == HTTPStatus.NOT_FOUND:
        return found
    alive, ready = await _probe(url.at("/healthz"), timeout_s), await _probe(url.at("/readyz"), timeout_s)
    return replace(found, alive=alive, ready=ready)


async def second_look(operators: Operators, url: Url, timeout_s: float, interval_s: float) -> Operators:
    """At least `interval_s` after the first; without a first one there is nothing to compare."""
    if not operators.looks:
        return operators
    await asyncio.sleep(max(0.0, operators.looks[0].at_s + interval_s - time.monotonic()))
    try:
        return _with(operators, await get(url, timeout_s))
    except WebFailed:
        return operators


def _with(operators: Operators, page: Page) -> Operators:
    if page.status != HTTPStatus.OK:
        return replace(operators, error=f"status {page.status}: {_shown(page)}")
    try:
        look = Look(at_s=time.monotonic(), samples=parse(page.body.decode("utf-8", "replace")))
    except NotMetrics as error:
        return replace(operators, error=f"it is no page of metrics: {error}")
    return replace(operators, looks=(*operators.looks, look))


async def _probe(url: Url, timeout_s: float) -> str | None:
    """Why all is not well; "" if it is; None if there is no such probe."""
    try:
        page = await get(url, timeout_s)
    except WebFailed:
        return None
    if page.status == HTTPStatus.OK:
        return ""
    return _shown(page) if page.status == HTTPStatus.SERVICE_UNAVAILABLE else None


def _shown(page: Page) -> str:
    return printable(" ".join(page.body.decode("utf-8", "replace").split())[:_SHOWN])
