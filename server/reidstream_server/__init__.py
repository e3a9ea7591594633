"""The reidstream service: transports over a pure core over engines."""

__version__ = "0.1.0"
