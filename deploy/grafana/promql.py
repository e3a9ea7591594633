"""Pieces of PromQL, so that every query of every dashboard follows the same rules.

Why: a query that forgets `$instance` shows servers that nobody asked for; one with a fixed window shows holes where the
scrape interval is longer; an average of quantiles of several servers is no quantile of anything. Here they are right
once. The trap is `histogram_quantile`: buckets are summed over the servers first, and `le` must be left.
"""

from __future__ import annotations

_CHOSEN = 'job=~"$job", instance=~"$instance"'


def of(metric: str, *matchers: str) -> str:
    """A series of the servers that the dashboard's variables choose."""
    return f"{metric}{{{', '.join((_CHOSEN, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    """How fast a counter rises, in each server and for each label."""
    return f"rate({of(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str, window: str = "$__range") -> str:
    """By how much a counter has risen."""
    return f"increase({of(metric, *matchers)}[{window}])"


def total(expression: str, *by: str) -> str:
    """The sum over all servers, or for each value of the labels."""
    return f"sum{_by(by)} ({expression})"


def worst(expression: str, *by: str) -> str:
    """The highest of all servers, or for each value of the labels."""
    return f"max{_by(by)} ({expression})"


def lowest(expression: str, *by: str) -> str:
    """The lowest of all servers, or for each value of the labels."""
    return f"min{_by(by)} ({expression})"


def share(part: str, whole: str) -> str:
    """Of 1. Nothing, and not a wrong 0, where the whole is 0."""
    return f"{part} / {whole}"


def quantile(of_one: float, histogram: str, *matchers: str, by: str = "") -> str:
    """Of all servers together: their buckets are summed first."""
    labels = ("le", by) if by else ("le",)
    return f"histogram_quantile({of_one}, {total(rate(f'{histogram}_bucket', *matchers), *labels)})"


def mean(histogram: str, *by: str) -> str:
    """Of what the histogram has counted, over all servers."""
    return share(total(rate(f"{histogram}_sum"), *by), total(rate(f"{histogram}_count"), *by))


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
