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

from .errors import CLOSED, ReidError, SessionEnded, WrongPlace
from .process import Home, check_unpatched

T = TypeVar("T")


class Closable(Protocol):
    """Something that the loop closes before it ends."""

    async def close(self) -> None:
        """Release everything."""
        ...


class LoopThread:
    """Runs coroutines for other threads. A daemon: it does not keep the interpreter alive."""

    def __init__(self) -> None:
        check_unpatched("threading", "selectors")
        self._home = Home()
        self._loop = asyncio.new_event_loop()
        self._entry = threading.RLock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="reidstream-client", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the interpreter ends, or the system has no thread left
            self._loop.close()
            raise WrongPlace(f"a client needs a thread, and there is none: {error}") from None

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop and wait. Giving up (Ctrl-C) cancels it.

        Raises SessionEnded if closed meanwhile, WrongPlace where nobody would end the waiting.
        """
        try:
            future = self._start(coroutine)
        except ReidError:
            coroutine.close()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise SessionEnded("this client was closed") from None
        except BaseException:
            future.cancel()
            raise

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        self._home.check()
        if threading.current_thread() is self._thread:
            raise WrongPlace("a client cannot wait in its own thread: call it from another one")
        with self._entry:
            self.check_open()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self, resource: Closable) -> None:
        """Close the resource in the loop, then end loop and thread. The second time, or after a fork, do nothing."""
        if not self._home.is_here:
            return
        with self._entry:
            if self._closed:
                return
            self._closed = True
            asyncio.run_coroutine_threadsafe(self._shut(resource), self._loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def check_open(self) -> None:
        """Raises SessionEnded if this was closed."""
        if self._closed:
            raise SessionEnded(CLOSED)

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
