"""A report as Markdown, for a review or a ticket."""

from __future__ import annotations

from typing import Any

from .comparison import Comparison, difference_text
from .document import facts


def markdown(written: dict[str, Any], comparison: Comparison | None = None) -> str:
    """Of a document."""
    dataset = written["dataset"]["name"]
    lines = [f"# {_cell(written['model'])} on {_cell(dataset)}", "", "| | |", "|-|-|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts(written)]
    confidence = f"{written['intervals']['confidence']:.0%}"
    lines += ["", f"| figure | % | {confidence} interval |", "|-|-|-|"]
    lines += [
        f"| {name} | {100 * figure['value']:.2f} | {interval_text(figure)} |" for name, figure in figures(written)
    ]
    apart = written["separation"]
    if apart is not None:
        lines += ["", separation_text(apart)]
    if comparison is not None:
        lines += ["", "## Compared", "", f"First: {_cell(comparison.first)}", ""]
        lines += [f"Second: {_cell(comparison.second)}", "", "| figure | second minus first, in points |", "|-|-|"]
        lines += [f"| {name} | {difference_text(found)} |" for name, found in comparison.differences.items()]
    return "\n".join(lines) + "\n"


def figures(written: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and figures, in their order."""
    return list(written["figures"].items())


def interval_text(figure: dict[str, Any]) -> str:
    """`91.20 to 95.11`."""
    if figure["low"] is None:
        return "none: one identity"
    return f"{100 * figure['low']:.2f} to {100 * figure['high']:.2f}"


def separation_text(apart: dict[str, Any]) -> str:
    """What the histograms say, in a sentence."""
    word = "at least" if apart["score"] == "cosine" else "at most"
    return (
        f"Equal error rate {100 * apart['equal_error_rate']:.2f} % at a {apart['score']} of {word} "
        f"{apart['threshold']:.4f}, over {apart['queries']} queries."
    )


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
