"""What must be true of an attack: each verdict is a sentence that says what was not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .run import Outcome

P99_TIMES: Final = 3.0
MEMORY_BACK: Final = 100_000_000
DESCRIPTORS_OF_VISITORS: Final = 3
"""A visitor may be there, or not, at either moment."""
THREADS_SPARE: Final = 2
"""One for large messages, and one that looks at connections, are there from when they are first needed."""
POOL_THREADS_SPARE: Final = 12
"""gRPC's pool makes a thread when work waits in it, and ends one that has had nothing to do for 20 s, which is longer
than anybody waits here. An attack that adds more each time it comes would pass this number.
"""


def failures(outcome: Outcome) -> Sequence[str]:
    """What did not hold."""
    camera, visitors, found = outcome.camera, outcome.visitors, []
    calm, under, later = camera["calm"], camera["attack"], camera["after"]
    if under.lost or later.lost:
        found.append(f"the victim lost {under.lost} of {under.sent} frames, and {later.lost} of {later.sent} after it")
    if calm.p99_ms is None:
        found.append("the victim was not served before the attack")
    elif under.p99_ms is not None and under.p99_ms > P99_TIMES * calm.p99_ms:
        found.append(f"the victim's p99 was {under.p99_ms / calm.p99_ms:.1f} times what it was before")
    if visitors["attack"].lost:
        found.append(f"{visitors['attack'].lost} of {visitors['attack'].sent} visitors were not served")
    if outcome.private_peak_bytes > outcome.published_bytes:
        over = (outcome.private_peak_bytes - outcome.published_bytes) / 2**20
        found.append(f"the server held {over:.0f} MiB more than it publishes")
    if outcome.cut_short:
        found.append(f"cut short: {outcome.cut_short}")
    found += _left_over(outcome)
    if outcome.serves:
        found.append(f"it did not serve afterwards: {outcome.serves}")
    if outcome.exit_code != 0:
        found.append(f"it ended with {'SIGKILL' if outcome.exit_code is None else outcome.exit_code}, not with 0")
    return found


def _left_over(outcome: Outcome) -> list[str]:
    before, after, found = outcome.before, outcome.after, []
    if before is None or after is None:
        return ["the server was gone"]
    if after.private_bytes - before.private_bytes > MEMORY_BACK:
        found.append(f"{(after.private_bytes - before.private_bytes) / 1e6:.0f} MB were not given back")
    if after.descriptors > before.descriptors + DESCRIPTORS_OF_VISITORS:
        found.append(f"{after.descriptors - before.descriptors} descriptors stayed open")
    if after.threads > before.threads + THREADS_SPARE:
        found.append(f"{after.threads - before.threads} threads stayed")
    if after.pool_threads > before.pool_threads + POOL_THREADS_SPARE:
        found.append(f"{after.pool_threads - before.pool_threads} threads of gRPC's pool stayed")
    return found
