"""A report as one HTML file that needs nothing else: no script, no address of another machine.

Trap: names of pictures and models come from files and servers, so everything is escaped.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

from reidstream_client.evaluation.running import Run

from .charts import cmc_chart, histogram_chart
from .comparison import Comparison, difference_text
from .document import caption, facts
from .markdown import figures, interval_text, separation_text
from .matches import match_rows, sampled_rows, worst_rows

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;color:#24292f;background:#fff;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #d0d7de;padding:.3rem .7rem;text-align:left}
.row{display:flex;gap:.4rem;flex-wrap:wrap;margin-top:1rem}figure{margin:0;border:4px solid #57606a;width:96px}
figure img{width:100%;display:block}figure span{font-size:10px;overflow-wrap:anywhere}figcaption{text-align:center}
.right{border-color:#1a7f37}.wrong{border-color:#cf222e}svg{max-width:100%}
"""


def page(run: Run, written: dict[str, Any], comparison: Comparison | None = None) -> str:
    """The whole file."""
    title = f"{escape(written['model'])} on {escape(written['dataset']['name'])}"
    confidence = f"{written['intervals']['confidence']:.0%}"
    parts = [
        f"<h1>{title}</h1>",
        _table([(name, value) for name, value in facts(written)]),
        "<h2>Figures</h2>",
        _table(
            [(name, f"{100 * figure['value']:.2f}", interval_text(figure)) for name, figure in figures(written)],
            head=("figure", "%", f"{confidence} interval"),
        ),
    ]
    if comparison is not None:
        parts += [
            "<h2>Compared</h2>",
            _table([("first", comparison.first), ("second", comparison.second)]),
            _table(
                [(name, difference_text(found)) for name, found in comparison.differences.items()],
                head=("figure", "second minus first, in points"),
            ),
        ]
    parts += ["<h2>CMC</h2>", cmc_chart(written["cmc"], caption(written))]
    apart = written["separation"]
    if apart is not None:
        parts += [
            "<h2>Scores</h2>",
            histogram_chart(apart, caption(written)),
            f"<p>{escape(separation_text(apart))}</p>",
        ]
    parts += ["<h2>Sampled queries</h2>", match_rows(run, sampled_rows(run))]
    worst = worst_rows(run)
    parts += ["<h2>Worst queries</h2>", match_rows(run, worst) if worst else "<p>All right answers come first.</p>"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _table(rows: list[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    top = f"<tr>{''.join(f'<th>{escape(word)}</th>' for word in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{top}{body}</table>"
