"""The table on a terminal: keys at once, and a look every few seconds.

Why a thread asks: a server that does not answer must not keep a key waiting. Trap: a server that is gone for a while is
no reason to leave: whoever watches a restart wants to see the end of it. What will not mend itself is: no token, or a
server that does not allow this.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from reidstream_client.admin import ServerSessions, SessionDetail
from reidstream_client.errors import CallRejected, CallTimeout, ServerUnavailable
from reidstream_client.sync import ReidClient

from .columns import Sorting
from .looks import Looks
from .terminal import Terminal
from .view import View, Wish

Answer: TypeAlias = "ServerSessions | SessionDetail | Exception"
SECOND_LOOK_S = 1.0
"""Rates come with the second look, so it comes soon."""


def live(client: ReidClient, terminal: Terminal, first: ServerSessions, *, sorting: Sorting, interval_s: float) -> None:
    """Until somebody leaves. Raises ReidError for what will not mend itself."""
    view, looks = View(client.target, sorting), Looks()
    view.take(looks.look(first))
    with terminal:
        asker = _Asker(client, terminal.wake)
        due_s = time.monotonic() + min(interval_s, SECOND_LOOK_S)
        while True:
            now_s = time.monotonic()
            if now_s >= due_s and asker.ask(view.asked):
                due_s = now_s + interval_s
            terminal.show(view.lines(*terminal.size))
            for key in terminal.wait(None if asker.asking and due_s <= now_s else max(0.0, due_s - now_s)):
                match view.press(key):
                    case Wish.LEAVE:
                        return
                    case Wish.LOOK:
                        due_s = 0.0
                    case Wish.STAY:
                        pass
            while (answer := asker.answer()) is not None:
                take(answer, view, looks)


def take(answer: Answer, view: View, looks: Looks) -> None:
    """Show an answer, or why there is none. Raises ReidError for what will not mend itself."""
    match answer:
        case ServerSessions():
            view.take(looks.look(answer))
        case SessionDetail():
            view.take(looks.look_at(answer))
        case ServerUnavailable() | CallTimeout():
            view.note = f"no answer, trying again: {' '.join(str(answer).split())}"
        case CallRejected() if view.asked is not None and _is_over(answer):
            view.close_detail(f"session {view.asked} is over")
        case _:
            raise answer


def _is_over(refused: CallRejected) -> bool:
    return refused.status is not None and refused.status.name == "NOT_FOUND"


class _Asker:
    """Asks one question at a time, in a thread of its own. `wake` is called when the answer is there."""

    def __init__(self, client: ReidClient, wake: Callable[[], None]) -> None:
        self._client = client
        self._wake = wake
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.asking = False

    def ask(self, number: int | None) -> bool:
        """About one session, or about all; False while the question before has no answer."""
        if self.asking:
            return False
        self.asking = True
        threading.Thread(target=self._ask, args=(number,), name="reidstream-top", daemon=True).start()
        return True

    def answer(self) -> Answer | None:
        """The answer, once."""
        try:
            answer = self._answers.get_nowait()
        except queue.Empty:
            return None
        self.asking = False
        return answer

    def _ask(self, number: int | None) -> None:
        try:
            answer: Answer = self._client.server_sessions() if number is None else self._client.server_session(number)
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            answer = error
        self._answers.put(answer)
        self._wake()
