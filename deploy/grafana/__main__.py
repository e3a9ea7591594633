"""`python -m deploy.grafana`."""

from .command import main

main()
