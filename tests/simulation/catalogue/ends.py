"""Faults in how things end: failures, deadlines, drains, clients that vanish."""

from __future__ import annotations

from tests.simulation.planting import Mutant

ENDS = (
    # Failures.
    Mutant(
        name="a failed batch is tried again as a whole",
        module="batcher",
        old="            return [self._alone.popleft()]",
        new="            return [self._alone.popleft() for _ in range(len(self._alone))]",
        found_by=3,
    ),
    Mutant(
        name="a failed batch is not tried again",
        module="inference",
        old="        retried = batch.size > 1\n",
        new="        retried = False\n",
        found_by=3,
    ),
    Mutant(
        name="a poisonous crop is tried for ever",
        module="inference",
        old="        retried = batch.size > 1\n",
        new="        retried = True\n",
        found_by=3,
    ),
    Mutant(
        name="a vanished client's crops are tried alone",
        module="ledger",
        old="            self._batchers[model].cancel_alone(frame)\n",
        new="            pass\n",
        found_by=35,
    ),
    Mutant(
        name="crops of a failed batch whose client vanished keep their pixels",
        module="inference",
        old="""\
            if not retried or portion.frame.resolved:
                self._decide(portion, CropOutcome.FAILED, effects)
                continue
""",
        new="""\
            if not retried:
                self._decide(portion, CropOutcome.FAILED, effects)
            if not retried or portion.frame.resolved:
                continue
""",
        found_by=27,
    ),
    Mutant(
        name="a lost engine gets new frames",
        module="arrival",
        old="            if batcher.lost is not None:\n",
        new="            if batcher.lost is not None and frame is None:\n",
        found_by=12,
    ),
    Mutant(
        name="only running frames learn that their engine is lost",
        module="inference",
        old="            if model in frame.models:\n",
        new="            if model in frame.models and frame.running_crops:\n",
        found_by=19,
    ),
    Mutant(
        name="an engine dies twice",
        module="inference",
        old="        if batcher is None or batcher.lost is not None:\n            return\n",
        new="        if batcher is None:\n            return\n",
        found_by=12,
    ),
    Mutant(
        name="a batch that never returns is waited for",
        module="scheduler",
        old="                self._inference.timed_out(BatchKey(timer.key), effects)",
        new="                pass",
        found_by=17,
    ),
    # Time and ends.
    Mutant(
        name="the age at arrival prolongs the budget",
        module="arrival",
        old="due = frame.arrived_ns + budget - frame.request.age_ns",
        new="due = frame.arrived_ns + budget + frame.request.age_ns",
        found_by=2,
    ),
    Mutant(
        name="a frame is given up although its inference has begun",
        module="inference",
        old="            self._timers.cancel(frame.budget_timer)\n",
        new="",
        found_by=2,
    ),
    Mutant(
        name="a budget's timer is left behind",
        module="ledger",
        old="        self._timers.cancel(frame.budget_timer)\n",
        new="",
        found_by=2,
    ),
    Mutant(
        name="a batch's timer is left behind",
        module="inference",
        old="        self._timers.cancel(batch.timeout)\n",
        new="",
    ),
    Mutant(
        name="a vanished client's timers are left behind",
        module="scheduler",
        old="        self._timers.cancel(session.stall_timer)\n",
        new="",
    ),
    Mutant(
        name="timers are due in the wrong order",
        module="timers",
        old="        heapq.heappush(self._heap, (at_ns, self._made, timer))\n",
        new="        self._heap.append((at_ns, self._made, timer))\n",
    ),
    Mutant(
        name="frames are taken after the drain",
        module="scheduler",
        old="        if state.draining:\n            self",
        new="        if False:\n            self",
        found_by=3,
    ),
    Mutant(
        name="the drain's deadline passes unnoticed",
        module="scheduler",
        old="                self._ledger.resolve(frame, SHUTTING_DOWN, effects)\n",
        new="                pass\n",
        found_by=3,
    ),
    Mutant(
        name="a second drain with an earlier deadline is ignored",
        module="scheduler",
        old="        if state.drain_timer is None or deadline_ns < state.drain_timer.at_ns:",
        new="        if state.drain_timer is None:",
        found_by=90,
    ),
    Mutant(
        name="the drain names the last frame that was tried, not the last that counts",
        module="arrival",
        old="        last, given = frame.session.last_frame_id, frame.request.frame_id\n",
        new=(
            "        last, given = frame.session.last_frame_id, frame.request.frame_id\n"
            "        frame.session.last_frame_id = given\n"
        ),
    ),
    Mutant(
        name="a vanished session's frames are kept",
        module="scheduler",
        old="            self._ledger.resolve(frame, SESSION_LOST, effects)\n",
        new="            pass\n",
        found_by=3,
    ),
)
