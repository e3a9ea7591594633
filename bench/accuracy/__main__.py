"""The figures of the default model's card, as Markdown.

    python -m bench.accuracy DATA

DATA holds `frames/MOT17-*/{img1,gt.txt}` and `crops/market_style/PPPP_cC...jpg`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .default_model import measure


def main() -> None:
    """Print the tables."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its argument
        sys.exit(__doc__)
    sys.stdout.write(measure(Path(sys.argv[1])).markdown())


if __name__ == "__main__":
    main()
