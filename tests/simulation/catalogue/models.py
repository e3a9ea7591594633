"""Faults in how models come and go, and in what is told of models and sessions."""

from __future__ import annotations

from tests.simulation.planting import Mutant

MODELS = (
    # They come.
    Mutant(
        name="the index of a model that is gone is used again",
        module="fleet",
        old="        index = ModelIndex(self._added)\n",
        new="        index = ModelIndex(len(self.batchers))\n",
        found_by=30,
    ),
    Mutant(
        name="a new model takes no cores from the others",
        module="fleet",
        old="        if terms.cores:\n",
        new="        if terms.cores and not self.sharing:\n",
        found_by=4,
    ),
    Mutant(
        name="a new model gets no turns",
        module="fleet",
        old="            self.sharing.append(index)\n",
        new="            self.sharing.append(min(self.batchers))\n",
        found_by=1,
    ),
    # Who may use them.
    Mutant(
        name="a session opens on a model that is retiring",
        module="fleet",
        old="            if batcher.retiring:\n",
        new="            if batcher.retiring and not batcher.users:\n",
        found_by=10,
    ),
    Mutant(
        name="a session opens on a model that is not there",
        module="fleet",
        old="            if batcher is None:\n                self._refuse_unknown(index)\n",
        new="            if batcher is None:\n                continue\n",
    ),
    Mutant(
        name="a session that may not open uses the first of its models for ever",
        module="fleet",
        old="            if batcher.retiring:\n                raise",
        new="            batcher.users += 1\n            if batcher.retiring:\n                raise",
    ),
    Mutant(
        name="a frame may name any model",
        module="arrival",
        old="        if not models <= session.terms.models:\n",
        new="        if not models:\n            models = session.terms.models\n        if not models:\n",
        found_by=1,
    ),
    Mutant(
        name="a frame that names a wrong model uses its models for ever",
        module="arrival",
        old="        if not models <= session.terms.models:\n",
        new="        self._fleet.use(models & set(self._batchers))\n        if not models <= session.terms.models:\n",
    ),
    # What begins with a model is finished with it.
    Mutant(
        name="a retiring model gets no more batches",
        module="batcher",
        old="        if self.lost is not None or len(self.running) >= self.terms.slots:\n",
        new="        if self.lost is not None or self.retiring or len(self.running) >= self.terms.slots:\n",
        found_by=2,
    ),
    Mutant(
        name="a retiring model's failed crops are not tried alone",
        module="inference",
        old="        retried = batch.size > 1\n",
        new="        retried = batch.size > 1 and not self._batchers[model].retiring\n",
    ),
    Mutant(
        name="nothing is staged for a retiring model",
        module="batcher",
        old="        return self.lost is None and (frames",
        new="        return self.lost is None and not self.retiring and (frames",
        found_by=2,
    ),
    Mutant(
        name="a retiring model does not linger",
        module="batcher",
        old="        if not self._linger_ns or",
        new="        if self.retiring or not self._linger_ns or",
    ),
    Mutant(
        name="frames for a retiring model are turned away",
        module="arrival",
        old="            if batcher.lost is not None:\n",
        new="            if batcher.lost is not None or batcher.retiring:\n",
        found_by=2,
    ),
    Mutant(
        name="a retiring model's lost engine is kept secret",
        module="inference",
        old="        if batcher is None or batcher.lost is not None:\n",
        new="        if batcher is None or batcher.retiring or batcher.lost is not None:\n",
        found_by=12,
    ),
    # They go.
    Mutant(
        name="a model is gone as soon as it retires",
        module="fleet",
        old="            if not batcher.users:\n                self.unused.append(index)\n\n",
        new="            self.unused.append(index)\n\n",
        found_by=2,
    ),
    Mutant(
        name="a model that nobody uses never goes",
        module="fleet",
        old="            if not batcher.users:\n                self.unused.append(index)\n\n",
        new="\n",
        found_by=7,
    ),
    Mutant(
        name="a model goes at once when it is told to retire a second time",
        module="fleet",
        old="        elif not batcher.retiring:\n",
        new="        elif batcher.retiring:\n            self.unused.append(index)\n        else:\n",
        found_by=2,
    ),
    Mutant(
        name="a model goes with its last session, whatever still runs",
        module="arrival",
        old="        self._fleet.use(models)\n",
        new="",
    ),
    Mutant(
        name="a model goes with its last answer, whatever still looks at pixels",
        module="ledger",
        old="""\
        self._delivery.touch(session)
        self.settle(frame, effects)

    def settle(self, frame: FrameState[P], effects: list[Effect[P]]) -> None:
        \"\"\"Resolve a frame if all its crops are decided; let go of it if nothing works on it any more.\"\"\"
        if not frame.resolved:
            if not frame.open_crops:
                self.resolve(frame, None, effects)
            return
        if frame.running_crops or frame.being_staged:
            return
        self.staging.let_go(frame)
        if self.frames.pop(frame.key, None) is None:
            return
        self._fleet.leave(frame.models)
""",
        new="""\
        self._delivery.touch(session)
        self._fleet.leave(frame.models)
        self.settle(frame, effects)

    def settle(self, frame: FrameState[P], effects: list[Effect[P]]) -> None:
        if not frame.resolved:
            if not frame.open_crops:
                self.resolve(frame, None, effects)
            return
        if frame.running_crops or frame.being_staged:
            return
        self.staging.let_go(frame)
        if self.frames.pop(frame.key, None) is None:
            return
""",
    ),
    Mutant(
        name="a model with a lost engine goes although its batch is out",
        module="fleet",
        old="            if batcher.retiring and not batcher.users:\n",
        new="            if batcher.retiring and (not batcher.users or batcher.lost):\n",
        found_by=12,
    ),
    Mutant(
        name="a model does not notice the end of its last session",
        module="scheduler",
        old="        self._fleet.leave(session.terms.models)",
        new="        pass",
    ),
    Mutant(
        name="a model does not notice the end of its last frame",
        module="ledger",
        old="        self._fleet.leave(frame.models)\n",
        new="",
    ),
    Mutant(
        name="a model whose last session has ended goes with the next event",
        module="scheduler",
        old="""\
        for over in self._delivery.flush(now, effects):
            self._forget(over, effects)
        if self._fleet.unused:
            effects += [Retired(model=model) for model in self._fleet.forget_unused()]
""",
        new="""\
        if self._fleet.unused:
            effects += [Retired(model=model) for model in self._fleet.forget_unused()]
        for over in self._delivery.flush(now, effects):
            self._forget(over, effects)
""",
    ),
    Mutant(
        name="a model goes, and nobody is told",
        module="scheduler",
        old="            effects += [Retired(model=model) for model in self._fleet.forget_unused()]\n",
        new="            self._fleet.forget_unused()\n",
    ),
    # What is gone is forgotten.
    Mutant(
        name="the batcher of a model that is gone is kept",
        module="fleet",
        old="self.batchers.pop(index).terms.cores",
        new="self.batchers[index].terms.cores",
    ),
    Mutant(
        name="a model that is gone keeps its turn",
        module="fleet",
        old="            (self.sharing if cores else self.on_devices).remove(index)\n",
        new="            self.sharing.rotate(cores)\n",
    ),
    Mutant(
        name="a late batch of a model that is gone is an error",
        module="inference",
        old="        batch = batcher.running.pop(key, None) if batcher is not None else None\n",
        new="        batch = self._batchers[model].running.pop(key, None)\n",
    ),
    Mutant(
        name="the late loss of a model that is gone is an error",
        module="inference",
        old="        batcher = self._batchers.get(model)\n        if batcher is None or",
        new="        batcher = self._batchers[model]\n        if",
        found_by=2,
    ),
    Mutant(
        name="retiring a model that is gone is an error",
        module="fleet",
        old="        if not 0 <= index < self._added:\n",
        new="        if index not in self.batchers:\n",
    ),
    # What is told.
    Mutant(
        name="nobody can see that a model is retiring",
        module="batcher",
        old="            retiring=self.retiring,\n",
        new="            retiring=False,\n",
        found_by=2,
    ),
    Mutant(
        name="a session's statistics count answers as open frames",
        module="state",
        old="            open_frames=len(self.open_frames),\n",
        new="            open_frames=len(self.open_frames) + len(self.unwritten),\n",
    ),
    Mutant(
        name="a session's statistics forget the answers that nobody takes",
        module="state",
        old="            unwritten_answers=len(self.unwritten),\n",
        new="            unwritten_answers=0,\n",
    ),
    Mutant(
        name="frames that wait to be staged are counted with those that wait for room",
        module="ledger",
        old="            queued_frames=len(self.waiting),\n",
        new="            queued_frames=len(self.waiting) + admission.parked,\n",
    ),
    Mutant(
        name="a window that is full of bytes is not full",
        module="scheduler",
        old="session.window_frames >= window.frames or session.window_bytes >= window.bytes\n",
        new="session.window_frames >= window.frames\n",
        found_by=2,
    ),
    Mutant(
        name="the answers that nobody takes are in no sum",
        module="scheduler",
        old="            answers += len(session.unwritten)\n",
        new="",
    ),
    Mutant(
        name="a frame that parks in the place of another is counted nowhere",
        module="arrival",
        old="            admission.count_refusal(frame)\n            self._park(",
        new="            self._park(",
    ),
    Mutant(
        name="a frame that finds no room is counted nowhere",
        module="arrival",
        old="            admission.count_refusal(frame)\n            self._overflow(",
        new="            self._overflow(",
    ),
    Mutant(
        name="every frame that finds no room counts for the boxes",
        module="admission",
        old="        self.refusals[self._lacking(frame)] += 1\n",
        new="        self.refusals[Bound.BOXES] += 1\n",
    ),
    Mutant(
        name="a frame that might not even wait is counted nowhere",
        module="arrival",
        old="        admission.refusals[Bound.PARKED] += 1\n",
        new="",
    ),
    Mutant(
        name="a session's statistics have its window's bytes wrong",
        module="state",
        old="            window_bytes=self.window_bytes,\n",
        new="            window_bytes=sum(frame.request.message_bytes for frame in self.open_frames.values()),\n",
    ),
    Mutant(
        name="a session's statistics do not say that it is drained",
        module="state",
        old="            draining=self.draining,\n",
        new="            draining=self.half_closed,\n",
        found_by=2,
    ),
)
