"""Prints the documentation of the configuration: `python -m reidstream_server.config > docs/configuration.md`."""

import sys

from .render import render_markdown

sys.stdout.write(render_markdown())
