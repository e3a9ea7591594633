"""`python -m tests.attacks`: see `cli`."""

from __future__ import annotations

import sys

from tests.attacks.cli import main

if __name__ == "__main__":
    sys.exit(main())
