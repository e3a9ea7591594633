"""The progress of a build, for a progress bar or a log.

Why: a build takes minutes and prints nothing. TensorRT reports nested phases, each with a number of steps. The fraction
is that of the outermost phase, refined by the phases inside its current step. Traps: TensorRT calls from its own
threads, and a Python exception must not pass through its frames. So an exception is kept, the build is asked to stop,
and the thread that started the build raises it.
"""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from typing_extensions import override

from .api import TensorRt

_log = logging.getLogger(__name__)

_PARTS = 10


class Progress(Protocol):
    """Gets the progress of a build."""

    __slots__ = ()

    @abstractmethod
    def __call__(self, fraction: float, phase: str, /) -> None:
        """`fraction`: 0 to 1, never less than before. `phase`: TensorRT's. Any thread. Raising ends the build."""
        ...


class LoggedProgress(Progress):
    """Logs the progress of the build for `model`, at most once for every tenth."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._next = 0
        self._lock = threading.Lock()

    @override
    def __call__(self, fraction: float, phase: str, /) -> None:
        with self._lock:
            tenths = int(fraction * _PARTS)
            if tenths < self._next:
                return
            self._next = tenths + 1
        _log.info("the TensorRT plan of %s is being built: %d %%, %s", self._model, tenths * 100 // _PARTS, phase)


@dataclass(slots=True)
class _Phase:
    name: str
    steps: int
    done: int = 0


class BuildMonitor:
    """`monitor`: the object for TensorRT; None if this version has no monitors, or if `progress` is None."""

    def __init__(self, trt: TensorRt, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._phases: list[_Phase] = []
        self._fraction = 0.0
        self._failure: BaseException | None = None
        self.monitor: object = None
        base = getattr(trt, "IProgressMonitor", None)
        if base is not None and progress is not None:
            self.monitor = _monitor(base, self)

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins. Phases beside it, and inside of those, have ended."""
        with self._lock:
            names = [phase.name for phase in self._phases]
            del self._phases[names.index(parent) + 1 if parent in names else 0 :]
            self._phases.append(_Phase(name, max(steps, 1)))
        self._tell()

    def step(self, name: str) -> bool:
        """A step of a phase has ended. False asks TensorRT to stop."""
        with self._lock:
            for index, phase in enumerate(self._phases):
                if phase.name == name:
                    phase.done += 1
                    del self._phases[index + 1 :]
                    break
        self._tell()
        return self._failure is None

    def finish(self, name: str) -> None:
        """A phase has ended."""
        with self._lock:
            names = [phase.name for phase in self._phases]
            if name in names:
                del self._phases[names.index(name) :]

    def raise_failure(self) -> None:
        """Raise the exception that `progress` raised, if it raised one."""
        if self._failure is not None:
            raise self._failure

    def _tell(self) -> None:
        with self._lock:
            part, size = 0.0, 1.0
            for phase in self._phases:
                size /= phase.steps
                part += min(phase.done, phase.steps) * size
            self._fraction = min(max(self._fraction, part), 1.0)
            fraction, name = self._fraction, self._phases[0].name if self._phases else ""
        if self._progress is None or self._failure is not None:
            return
        try:
            self._progress(fraction, name)
        except BaseException as error:  # noqa: BLE001 - raised again by raise_failure, an interrupt as well
            self._failure = error


def _monitor(base: Any, owner: BuildMonitor) -> object:  # noqa: ANN401 - TensorRT's own class
    class Monitor(base):  # type: ignore[misc]  # known when it runs
        def __init__(self) -> None:
            base.__init__(self)  # pybind11 insists on its own constructor

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            owner.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002 - TensorRT's signature
            return owner.step(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            owner.finish(phase_name)

    return Monitor()
