"""`python -m deploy.prometheus`."""

from .command import main

main()
