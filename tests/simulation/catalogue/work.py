"""Faults in what is worked on: staging and batches."""

from __future__ import annotations

from tests.simulation.planting import Mutant

_STARTS = "        self._inference.start(now, effects)\n"
_STAGES = """\
        while (frame := self._ledger.next_to_stage(now)) is not None and frame.payload is not None:
            effects.append(Stage(frame=frame.key, payload=frame.payload, aside=frame.aside))
"""

WORK = (
    Mutant(
        name="one frame too many is staged at once",
        module="staging",
        old="        return (self.aside_frames if aside else self.frames) < self._limits.staging_slots",
        new="        return (self.aside_frames if aside else self.frames) <= self._limits.staging_slots",
        found_by=1,
    ),
    Mutant(
        name="one core too many is used",
        module="ledger",
        old="return busy < cores or busy ==",
        new="return busy <= cores or busy ==",
        found_by=5,
    ),
    Mutant(
        name="batches take no cores from staging",
        module="ledger",
        old="return busy < cores or busy == self.staging.frames + self.batches == cores > 1",
        new="return self.staging.frames < cores",
        found_by=3,
    ),
    Mutant(
        name="nothing waits for the core that is free next",
        module="ledger",
        old="return busy < cores or busy == self.staging.frames + self.batches == cores > 1",
        new="return busy < cores",
        found_by=1,
    ),
    Mutant(
        name="two pieces wait for the core that is free next",
        module="ledger",
        old="        return busy < cores or busy == self.staging.frames + self.batches == cores > 1",
        new="        return busy < cores + 2 * (cores > 1)",
        found_by=3,
    ),
    Mutant(
        name="a piece waits for the only core",
        module="ledger",
        old="== cores > 1\n",
        new="== cores\n",
        found_by=5,
    ),
    Mutant(
        name="a piece waits for the next core, though a batch has several",
        module="ledger",
        old="busy == self.staging.frames + self.batches == cores > 1",
        new="busy == cores > 1",
        found_by=7,
    ),
    Mutant(
        name="a batch on a device counts as one on a core",
        module="ledger",
        old="        self.batches += cores > 0\n",
        new="        self.batches += 1\n",
        found_by=9,
    ),
    Mutant(
        name="batches that a lost engine has in flight are not told",
        module="inference",
        old="running=len(batcher.running)",
        new="running=0",
        found_by=7,
    ),
    Mutant(
        name="a batch on several cores counts as one",
        module="inference",
        old="self._ledger.batch_begins(batcher.terms.cores)",
        new="self._ledger.batch_begins(min(batcher.terms.cores, 1))",
        found_by=7,
    ),
    Mutant(
        name="a lost engine's batches keep their cores",
        module="inference",
        old="        self._ledger.batches_end(batcher.terms.cores, len(batcher.running))\n",
        new="",
        found_by=7,
    ),
    Mutant(
        name="a batch on a device waits for a core",
        module="inference",
        old="            while taken := self._batchers[model].take(now):",
        new="            while self._ledger.wants_work and (taken := self._batchers[model].take(now)):",
    ),
    Mutant(
        name="staging goes before batches",
        module="scheduler",
        old=_STARTS + _STAGES,
        new=_STAGES + _STARTS,
    ),
    Mutant(
        name="the first model goes first",
        module="inference",
        old="        passed, sharing = 0, self._fleet.sharing\n",
        new="        passed, sharing = 0, type(self._fleet.sharing)(sorted(self._fleet.sharing))\n",
        found_by=5,
    ),
    Mutant(
        name="the staged bytes exceed their bound by a frame",
        module="staging",
        old="free = self._limits.max_staged_bytes - self.bytes - frame.request.staged_bytes",
        new="free = self._limits.max_staged_bytes - self.bytes",
        found_by=3,
    ),
    Mutant(
        name="an idle engine has frames staged for a busy one",
        module="ledger",
        old="frame.seems_heavy is heavy and not hungry.isdisjoint(frame.models)",
        new="frame.seems_heavy is heavy",
        found_by=1,
    ),
    Mutant(
        name="one frame of many boxes is enough for all cores",
        module="batcher",
        old="(frames < self._stagers or crops <",
        new="(crops <",
        found_by=1,
    ),
    Mutant(
        name="frames are staged however many are ready",
        module="batcher",
        old="        self._sight(aside=frame.aside).add(frames=1, crops=len(indices))\n",
        new="        self._sight(aside=frame.aside).add(frames=0, crops=len(indices))\n",
    ),
    Mutant(
        name="a frame is in sight until its last crop runs",
        module="state",
        old="        return 2 * len(self.indices) > self.at_first\n",
        new="        return bool(self.indices)\n",
        found_by=2,
    ),
    Mutant(
        name="crops for every slot are not asked for",
        module="batcher",
        old=" or crops < self.terms.max_batch * self.terms.slots",
        new="",
    ),
    Mutant(
        name="a frame that is given up stays in sight",
        module="batcher",
        old="add(frames=-crops.ample, crops=-len(crops.indices))",
        new="add(frames=0, crops=-len(crops.indices))",
        found_by=11,
    ),
    Mutant(
        name="a frame that has run in part is taken out of sight twice",
        module="batcher",
        old="add(frames=-crops.ample, crops",
        new="add(frames=-1, crops",
        found_by=36,
    ),
    Mutant(
        name="a frame that has run leaves what is in sight again when it is answered",
        module="batcher",
        old="            eaten = was_ample and not crops.ample\n",
        new="            eaten = not crops.ample\n",
    ),
    Mutant(
        name="staging goes on only with the next event",
        module="scheduler",
        old="        while (frame := self._ledger.next_to_stage(now)) is not None and",
        new="        if (frame := self._ledger.next_to_stage(now)) is not None and",
        found_by=1,
    ),
    Mutant(
        name="one batch too many is in flight",
        module="batcher",
        old="if self.lost is not None or len(self.running) >= self.terms.slots:",
        new="if self.lost is not None or len(self.running) > self.terms.slots:",
    ),
    Mutant(
        name="a batch is one crop too large",
        module="batcher",
        old="        room = self.terms.max_batch\n",
        new="        room = self.terms.max_batch + 1\n",
    ),
    Mutant(
        name="a free slot waits until the batch is full",
        module="batcher",
        old="        if until is not None and now < until:",
        new="        if len(self._ready) < self.terms.max_batch and self.running:",
    ),
    Mutant(
        name="the linger is ignored",
        module="batcher",
        old="        if until is not None and now < until:",
        new="        if until is None and now < 0:",
    ),
    Mutant(
        name="nobody wakes when the linger is over",
        module="scheduler",
        old="        self._inference.watch()\n",
        new="",
    ),
    Mutant(
        name="pixels are given back while a batch looks at them",
        module="ledger",
        old="        if frame.running_crops or frame.being_staged:",
        new="        if frame.being_staged:",
        found_by=3,
    ),
    Mutant(
        name="pixels are given back while they are staged",
        module="ledger",
        old="        if frame.running_crops or frame.being_staged:",
        new="        if frame.running_crops:",
    ),
    Mutant(
        name="pixels are given back twice",
        module="staging",
        old="            frame.holds_staged_bytes = False\n            self.bytes -=",
        new="            self.bytes -=",
        found_by=2,
    ),
    Mutant(
        name="the message of a frame that was never staged is kept until its answer's turn",
        module="ledger",
        old="        if frame.payload is not None:  # also",
        new="        if frame.staged and frame.payload is not None:  # also",
    ),
    Mutant(
        name="pixels of a frame that was given up while it was staged are kept",
        module="decoding",
        old="_inference.queue_crops(frame, invalid, now)\n        self._ledger.settle(frame, effects)\n",
        new="_inference.queue_crops(frame, invalid, now)\n            self._ledger.settle(frame, effects)\n",
    ),
    Mutant(
        name="a staging slot is lost when staging fails",
        module="decoding",
        old='        """There are no pixels."""\n        frame = self._ledger.end_staging(key)\n',
        new='        """There are no pixels."""\n        frame = self._ledger.frames.get(key)\n',
        found_by=2,
    ),
    Mutant(
        name="crops of a vanished client still run",
        module="ledger",
        old="            self._batchers[model].cancel(entry)\n",
        new="            pass\n",
        found_by=4,
    ),
)
