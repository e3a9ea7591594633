"""The reidstream service: transports over a pure core over engines."""
