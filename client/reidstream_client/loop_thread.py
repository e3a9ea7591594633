"""An event loop in a thread of its own, for programs without asyncio.

Trap: the garbage collector may close a forgotten client from any thread, this one included, and the interpreter may
end while calls are open. So nothing here waits for itself, and every call that was accepted gets an answer.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from .errors import SessionEnded

T = TypeVar("T")


class Closable(Protocol):
    """Something that the loop closes before it ends."""

    async def close(self) -> None:
        """Release everything."""
        ...


class LoopThread:
    """Runs coroutines for other threads. A daemon: it does not keep the interpreter alive."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._entry = threading.RLock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="reidstream-client", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop and wait. Giving up (Ctrl-C) cancels it. Raises SessionEnded if closed meanwhile."""
        with self._entry:
            if self._closed:
                coroutine.close()
                raise SessionEnded("this client is closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        if threading.current_thread() is self._thread:
            raise SessionEnded("a client cannot wait in its own thread")
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise SessionEnded("this client was closed") from None
        except BaseException:
            future.cancel()
            raise

    def close(self, resource: Closable) -> None:
        """Close the resource in the loop, then end loop and thread. The second time, do nothing."""
        with self._entry:
            if self._closed:
                return
            self._closed = True
            asyncio.run_coroutine_threadsafe(self._shut(resource), self._loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    async def _shut(self, resource: Closable) -> None:
        try:
            await resource.close()
        finally:
            self._loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
