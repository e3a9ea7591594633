"""The HTTP door's ceiling: bare uvicorn with httptools, which reads each body and answers as many bytes.

`python -m bench.web.echo --bytes 1200`. It writes the same log line as the server, so both are started in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--bytes", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().bytes))
    return 0


async def _serve(size: int) -> None:
    answer = b"0" * size
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]

    async def application(scope: object, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        del scope
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    config = Config(application, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False)
    config.load()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # so that it sends at once
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(partial(HttpToolsProtocol, config, ServerState(), {}), sock=listening)
    port = listening.getsockname()[1]
    fields = {"address": f"127.0.0.1:{port}", "http_port": port}
    sys.stderr.write(json.dumps({"event": "serving", "fields": fields}) + "\n")
    sys.stderr.flush()
    await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
