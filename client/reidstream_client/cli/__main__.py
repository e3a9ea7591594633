"""`python -m reidstream_client.cli`."""

import sys

from .process import main

sys.exit(main())
