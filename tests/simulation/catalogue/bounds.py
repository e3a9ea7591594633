"""Faults in what may come in: the queue, windows and overload policies."""

from __future__ import annotations

from tests.simulation.planting import Mutant

BOUNDS = (
    # Admission.
    Mutant(
        name="bytes of staged messages are never given back",
        module="ledger",
        old="        self.admission.release_bytes(frame)\n        return frame",
        new="        return frame",
    ),
    Mutant(
        name="boxes are given back before the answer is known",
        module="ledger",
        old="        self.admission.release_bytes(frame)\n        return frame",
        new=(
            "        self.admission.release_bytes(frame)\n"
            "        self.admission.release_boxes(frame)\n"
            "        return frame"
        ),
    ),
    Mutant(
        name="one camera may take the whole queue",
        module="sharing",
        old="return own + amount + left <= self.most - self._taken",
        new="return amount + left <= self.most - self._taken",
    ),
    Mutant(
        name="the queue's bytes are not looked at",
        module="admission",
        old="            and self._bytes.fits(flow, request.message_bytes)\n",
        new="",
        found_by=2,
    ),
    Mutant(
        name="newcomers overtake whoever waits for room",
        module="admission",
        old="        if self.others_first(frame) or not self._fits(frame):",
        new="        if not self._fits(frame):",
    ),
    Mutant(
        name="a large frame waits for ever while small ones fit",
        module="admission",
        old="                blocking[flow.client] = frame\n",
        new="                pass\n",
    ),
    Mutant(
        name="each camera of a source may have as much as if it were alone",
        module="admission",
        old="(self.pool.of(flow) + self.sources.of(flow.client)) / 2",
        new="self.pool.of(flow)",
    ),
    Mutant(
        name="a camera may have what its source does not",
        module="admission",
        old="(self.pool.of(flow) + self.sources.of(flow.client)) / 2",
        new="self.sources.of(flow.client)",
    ),
    Mutant(
        name="who waits blocks sources that hold less",
        module="admission",
        old="            if self._part(source) <= part:\n",
        new="            if True:\n",
        found_by=40,
    ),
    Mutant(
        name="who waits lets in sources that hold as much",
        module="admission",
        old="            if self._part(source) <= part:\n",
        new="            if self._part(source) < part:\n",
    ),
    Mutant(
        name="whoever waits in vain blocks sources that wait and hold less",
        module="admission",
        old="blocking.items() if parts[source] <= parts[flow.client]]",
        new="blocking.items()]",
        found_by=9,
    ),
    Mutant(
        name="who waits is let in before sources that hold as much",
        module="admission",
        old="blocking.items() if parts[source] <= parts[flow.client]]",
        new="blocking.items() if parts[source] < parts[flow.client]]",
    ),
    Mutant(
        name="a source whose small frames have passed does not go first",
        module="admission",
        old="return self.in_turn.of(source) / self.in_turn.most",
        new="return self.sources.of(source) / self.in_turn.most",
        found_by=9,
    ),
    Mutant(
        name="what a source has held is counted for ever",
        module="admission",
        old="        self.sources.give_back(flow.client, amount)\n",
        new="",
    ),
    Mutant(
        name="what a source has held in turn is counted for ever",
        module="admission",
        old="            self.in_turn.give_back(flow.client, amount)\n",
        new="            pass\n",
    ),
    Mutant(
        name="a camera's sessions overtake each other in parking",
        module="admission",
        old="            in_turn = flow not in flows\n",
        new="            in_turn = True\n",
        found_by=18,
    ),
    Mutant(
        name="who waits is let in only when its camera has nothing else",
        module="admission",
        old="                fitting += [frame] if fits else []\n",
        new="",
    ),
    Mutant(
        name="a camera's newer session overtakes the one that waits",
        module="admission",
        old="        if any(session.terms.holder == flow for",
        new="        if False and any(session.terms.holder == flow for",
        found_by=21,
    ),
    Mutant(
        name="a replaced frame goes to the end of parking",
        module="arrival",
        old="self._ledger.resolve(victim, faults.DROPPED_BY_WINDOW, effects, keep_place=True)",
        new="self._ledger.resolve(victim, faults.DROPPED_BY_WINDOW, effects)",
    ),
    Mutant(
        name="a session whose newest frame is dropped keeps a place for nothing",
        module="arrival",
        old="            self._ledger.admission.unpark(session)\n            return",
        new="            return",
        found_by=200,
    ),
    # Windows and overload.
    Mutant(
        name="the window admits one frame more",
        module="state",
        old="return self.window_frames > window.frames or",
        new="return self.window_frames > window.frames + 1 or",
        found_by=5,
    ),
    Mutant(
        name="the window of a session that waits admits one frame more",
        module="state",
        old="return self.parked is None and backlog < window.frames and",
        new="return self.parked is None and backlog <= window.frames and",
        found_by=4,
    ),
    Mutant(
        name="a session is read although a frame of it waits for room",
        module="state",
        old="return self.parked is None and backlog < window.frames and",
        new="return backlog < window.frames and",
    ),
    Mutant(
        name="answers that nobody takes pile up",
        module="state",
        old="        backlog = len(self.open_frames) + len(self.unwritten)",
        new="        backlog = len(self.open_frames)",
        found_by=4,
    ),
    Mutant(
        name="the newest frame is dropped instead of the oldest",
        module="state",
        old="(frame for frame in self.open_frames.values() if not frame.started",
        new="(frame for frame in reversed(self.open_frames.values()) if not frame.started",
    ),
    Mutant(
        name="a frame that has started is dropped",
        module="state",
        old="if not frame.started and not frame.resolved), None)",
        new="if not frame.running_crops and not frame.resolved), None)",
    ),
    Mutant(
        name="a dropped frame keeps its place in the window",
        module="ledger",
        old="        if fault is not None and frame.holds_window:",
        new="        if fault is None and frame.holds_window:",
    ),
    Mutant(
        name="a dropped frame's place in the window is given back twice",
        module="ledger",
        old="            frame.holds_window = False\n            session.window_frames -= 1",
        new="            session.window_frames -= 1",
    ),
    Mutant(
        name="a frame id may come twice",
        module="arrival",
        old="if last is not None and given <= last:",
        new="if last is not None and given < last:",
    ),
    Mutant(
        name="a session is not told that it may be read again",
        module="scheduler",
        old="            self._delivery.touch(parked.session)\n",
        new="",
    ),
)
