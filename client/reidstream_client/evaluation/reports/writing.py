"""The files of a report: report.json, report.md, report.html, cmc.svg and scores.svg, in a folder.

Trap: a run takes minutes, so whether its folder can be written is asked before it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reidstream_client.errors import FileError
from reidstream_client.evaluation.running import Run

from .charts import cmc_chart, histogram_chart
from .comparison import Comparison
from .document import caption
from .markdown import markdown
from .page import page


def check_folder(folder: Path) -> None:
    """Make the folder, and a file in it. Raises FileError."""
    probe = folder / ".report.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise FileError(f"no report can be written to {folder}: {error.strerror}") from None


def write_report(folder: Path, run: Run, written: dict[str, Any], comparison: Comparison | None = None) -> list[Path]:
    """Write all files; returns them. Raises FileError."""
    stored = written if comparison is None else {**written, "comparison": comparison.as_json()}
    texts = {
        "report.json": json.dumps(stored, allow_nan=False) + "\n",
        "report.md": markdown(written, comparison),
        "report.html": page(run, written, comparison),
        "cmc.svg": cmc_chart(written["cmc"], caption(written)) + "\n",
    }
    if written["separation"] is not None:
        texts["scores.svg"] = histogram_chart(written["separation"], caption(written)) + "\n"
    paths = []
    for name, text in texts.items():
        path = folder / name
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from None
        paths.append(path)
    return paths
