"""What metrics say of the server's machine and process: cores, memory, files, engines, the log."""

from __future__ import annotations

import math
from typing import Final

from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning
from reidstream_client.cli.doctor.seen import Seen

from .metrics import Course, course_of, newest
from .words import listed, number

BUSY: Final = 0.9
NEARLY: Final = 0.9
LOW_COSINE: Final = 0.999
_NO_METRICS: Final = "There are no metrics."


def cores(seen: Seen) -> Finding:
    """There is time left for more frames."""
    course = course_of(seen)
    if course is None:
        return unseen("cores", _NO_METRICS)
    count = course.newest.value("reidstream_cores")
    rate = course.rate("reidstream_core_busy_seconds_total", without=("work", "aside"))
    if rate is None or not count:
        return unseen("cores", "Two looks at the metrics were too near to each other; see --interval.")
    return _of_share("cores", rate / count, f"of the server's {number(count)} cores", _scale(course))


def event_loop(seen: Seen) -> Finding:
    """The thread that reads and writes all messages has time left."""
    course = course_of(seen)
    if course is None:
        return unseen("event loop", _NO_METRICS)
    rate = course.rate("reidstream_event_loop_cpu_seconds_total")
    if rate is None:
        return unseen("event loop", "Two looks at the metrics were too near to each other; see --interval.")
    change = "It is one thread, whatever the number of cores: fewer frames or calls, or another server beside it."
    return _of_share("event loop", rate, "of the event loop's time", change)


def memory(seen: Seen) -> Finding:
    """It is far below its bound."""
    metrics = newest(seen)
    used = None if metrics is None else metrics.value("reidstream_private_memory_bytes")
    limit = None if metrics is None else metrics.value("reidstream_private_memory_limit_bytes")
    if used is None or not limit:
        return unseen("memory", _NO_METRICS)
    told = f"{number(used / 2**20)} of {number(limit / 2**20)} MiB of private memory are used"
    if used >= NEARLY * limit:
        return warning(
            "memory",
            f"{told}.",
            "reidstream_memory_bytes says which part it is; beyond the bound, connections that hold most are ended.",
        )
    return ok("memory", f"{told}.")


def descriptors(seen: Seen) -> Finding:
    """There are files left for more connections."""
    metrics = newest(seen)
    used = None if metrics is None else metrics.value("process_open_fds")
    limit = None if metrics is None else metrics.value("process_max_fds")
    if used is None or not limit:
        return unseen("descriptors", _NO_METRICS)
    told = f"{number(used)} of {number(limit)} file descriptors are open"
    if used >= NEARLY * limit:
        return warning("descriptors", f"{told}.", "Raise the server's limit (ulimit -n, LimitNOFILE of systemd).")
    return ok("descriptors", f"{told}.")


def self_test(seen: Seen) -> Finding:
    """The engines agree with themselves."""
    metrics = newest(seen)
    found = {} if metrics is None else metrics.by_label("reidstream_self_test_cosine", "model")
    if not found:
        return unseen("self-test", _NO_METRICS if metrics is None else "No model was tested at the start.")
    low = {model: cosine for model, cosine in found.items() if not cosine >= LOW_COSINE}
    if low:
        return warning(
            "self-test",
            f"In a full batch a crop has another vector than alone: {listed(f'{m} {c:.4f}' for m, c in low.items())}.",
            "Choose more precision (--precision, --gpu-precision), or --max-batch 1.",
        )
    return ok("self-test", f"The lowest cosine between a crop alone and in a batch is {min(found.values()):.6f}.")


def batches(seen: Seen) -> Finding:
    """No engine fails."""
    return _counted(
        seen,
        "batches",
        ("reidstream_batch_faults_total", "Batches that an engine failed on"),
        "Look into the server's log: batch_failed, and engine_raised with the traceback.",
        "No batch has failed.",
    )


def log(seen: Seen) -> Finding:
    """The log is complete."""
    return _counted(
        seen,
        "log",
        ("reidstream_log_lines_dropped_total", "Lines of the server's log that were lost"),
        "Whoever reads its stderr is too slow or gone, or a disk is full.",
        "No line of the server's log was lost.",
    )


def _counted(seen: Seen, check: str, series: tuple[str, str], change: str, well: str) -> Finding:
    """What should never happen: counted since the server's start."""
    metrics = newest(seen)
    count = None if metrics is None else metrics.value(series[0])
    if count is None:
        return unseen(check, _NO_METRICS)
    if count:
        return warning(check, f"{series[1]} since the server's start: {number(count)}.", change)
    return ok(check, well)


def _of_share(check: str, share: float, of_what: str, change: str) -> Finding:
    told = f"{100 * share:.0f} % {of_what} were used while doctor looked"
    if share >= BUSY:
        return warning(check, f"{told}.", change, share=share)
    return ok(check, f"{told}.", share=share)


def _scale(course: Course) -> str:
    oldest = course.newest.value("reidstream_oldest_waiting_seconds") or 0.0
    waits = f" The oldest frame waits for {oldest:.1f} s." if oldest and math.isfinite(oldest) else ""
    return f"Fewer frames a second, a smaller network, or another server beside it.{waits}"
