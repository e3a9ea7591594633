"""The names of the series that an expression asks for.

Why by hand: Prometheus's own parser has an API for it only in newer versions than Debian's. An expression that does
not parse is found elsewhere, by promtool and by a Prometheus that runs it.
"""

from __future__ import annotations

import re

_STRINGS = re.compile(r"""(["'`])(?:\\.|(?!\1)[^\\])*\1""")
_COMMENTS = re.compile(r"#.*")
_MATCHERS = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_WORDS = re.compile(r"(?<![\w:.$])([A-Za-z_:][\w:]*)(?!\s*\()(?![\w:])")
_OPERATORS = {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "group_left", "group_right"}
_AGGREGATIONS = {"by", "without", "sum", "max", "min", "avg", "count", "topk", "bottomk", "quantile", "stddev", "group"}
"""An aggregation may have its labels before its argument: `sum without (x) (...)`."""


def names_of(expr: str) -> set[str]:
    """Of every selector in it; its syntax must be right."""
    for nothing, pattern in ((" ", _STRINGS), (" ", _COMMENTS), (" ", _MATCHERS), (" ", _LABELS)):
        expr = pattern.sub(nothing, expr)
    return {word for word in _WORDS.findall(expr) if word.lower() not in _OPERATORS | _AGGREGATIONS}
