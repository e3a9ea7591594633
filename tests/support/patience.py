"""How long a test waits for what must happen: only a hang takes so long.

Why one number: machines differ by a factor of three and run other work beside the tests. A time-out that a slow machine
can reach says nothing about the product. Trap: a behaviour that is itself a time-out is not tested with this one; give
the product a short time there, and wait for the event that must follow.
"""

HANG_S = 600.0
"""Seconds. Below pytest's own time-out, so that the test that hangs says where."""
