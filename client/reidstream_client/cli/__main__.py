"""`python -m reidstream_client.cli`."""

import sys

from .command import main

sys.exit(main())
