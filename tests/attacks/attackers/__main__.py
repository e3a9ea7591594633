"""`python -m tests.attacks.attackers NAME PORT METRICS_PORT HTTP_PORT PID`: attacks until SIGTERM, then says what it
got.

It says `begun` with its first attempt, since making what it sends may take seconds; at the latest after ten. It takes
a lower priority than its victims, since what the server pays is measured, and not what the attacker pays. Trap:
connections must be cut when the process ends, not closed in good order, so nothing is unwound.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time

from tests.attacks.catalogue import attack_named

from .target import Target

_MOST_BYTES = 3 * 2**30
_NICE = 5
_LOOK_S, _BEGIN_S = 0.02, 10.0


def main() -> int:
    """The process; returns its exit code, if it ends by itself."""
    name, port, metrics_port, http_port, pid = sys.argv[1:]
    target = Target(
        host="127.0.0.1",
        port=int(port),
        metrics_port=int(metrics_port),
        http_port=int(http_port),
        pid=int(pid),
    )
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))

    def report(*_: object) -> None:
        most = dict(target.became.most_common(20))
        os.write(sys.stdout.fileno(), json.dumps(most).encode())
        os._exit(0)

    async def tell_when_begun() -> None:
        until = time.monotonic() + _BEGIN_S
        while not target.became and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        os.write(sys.stdout.fileno(), b"begun\n")

    async def attack() -> None:
        telling = asyncio.create_task(tell_when_begun())
        await attack_named(name).run(target)
        await telling

    signal.signal(signal.SIGTERM, report)
    asyncio.run(attack())
    return 0


if __name__ == "__main__":
    sys.exit(main())
