"""Faults in what things cost, who pays, what is heavy, and what all may hold together."""

from __future__ import annotations

from tests.simulation.planting import Mutant

COSTS = (
    # What all share.
    Mutant(
        name="what is taken at once leaves no room",
        module="sharing",
        old="        left = min(amount, self.most // LEFT_PART)\n",
        new="        left = 0\n",
    ),
    Mutant(
        name="a holder is never forgotten",
        module="sharing",
        old="            if not self._by_holder[holder]:\n",
        new="            if self._by_holder[holder] < 0:\n",
    ),
    # Parking.
    Mutant(
        name="nobody passes a large frame that waits",
        module="admission",
        old="MUCH_SMALLER * frame.share <= other.share",
        new="frame.share < 0 <= other.share",
    ),
    Mutant(
        name="a frame of the same size passes one that waits",
        module="admission",
        old="MUCH_SMALLER * frame.share <= other.share",
        new="frame.share <= other.share",
    ),
    Mutant(
        name="those that pass may hold everything",
        module="admission",
        old="return self.passed + amount <= self.pool.most // PASSED_PART",
        new="return True",
    ),
    Mutant(
        name="who has passed counts for ever",
        module="admission",
        old="            self.passed -= amount\n",
        new="            pass\n",
    ),
    Mutant(
        name="a frame that passes when it comes does not count",
        module="admission",
        old="        self._let_in(frame, passes=passes)\n        return True",
        new="        self._let_in(frame, passes=False)\n        return True",
    ),
    Mutant(
        name="whatever waits may wait, however much it is",
        module="admission",
        old="        return self._parked.fits(frame.session.terms.source, frame.request.message_bytes)\n",
        new="        return True\n",
    ),
    Mutant(
        name="what waited is counted for ever",
        module="admission",
        old="            self._parked.give_back(session.terms.source, session.parked.request.message_bytes)\n",
        new="",
    ),
    Mutant(
        name="nobody looks who may come in when an answer was written",
        module="admission",
        old="        self._changed |= answer.answer_bytes > 0\n",
        new="",
    ),
    Mutant(
        name="nobody looks who may come in when a message was staged",
        module="admission",
        old="passed=frame.passed)\n            self._changed = True\n\n    def release_boxes",
        new="passed=frame.passed)\n\n    def release_boxes",
        found_by=2,
    ),
    Mutant(
        name="a frame that may not even wait keeps its place",
        module="arrival",
        old="        self._ledger.resolve(frame, fault, effects)\n        admission.unpark(frame.session)\n",
        new="        self._ledger.resolve(frame, fault, effects, keep_place=True)\n",
    ),
    # Answers.
    Mutant(
        name="vectors have no bound",
        module="admission",
        old="            and self._answers.fits(flow, request.answer_bytes)\n",
        new="",
        found_by=6,
    ),
    Mutant(
        name="vectors are not held any more when they are handed out",
        module="admission",
        old="        frame.holds_answer_bytes = False\n        return frame.request.answer_bytes\n",
        new="        self.release_answer(frame)\n        return 0\n",
    ),
    Mutant(
        name="vectors of a frame with a fault are held for ever",
        module="ledger",
        old="        if frame.fault is not None:\n            self.admission.release_answer(frame)\n",
        new="",
    ),
    Mutant(
        name="vectors that wait for their turn are held when their client is gone",
        module="scheduler",
        old="                self._ledger.admission.release_answer(frame)\n",
        new="                pass\n",
        found_by=43,
    ),
    Mutant(
        name="vectors that a client did not take are held when it is gone",
        module="scheduler",
        old="            self._ledger.admission.answer_written(session, answer)\n",
        new="            pass\n",
    ),
    Mutant(
        name="who holds nothing but vectors goes first",
        module="admission",
        old="self._boxes.pool.of(flow) > 0 or self._answers.pool.of(flow) > 0",
        new="self._boxes.pool.of(flow) > 0",
    ),
    Mutant(
        name="a frame with a fault keeps its vectors",
        module="ledger",
        old="vectors=frame.fault is not None",
        new="vectors=False",
    ),
    # Heavy frames.
    Mutant(
        name="a frame of many boxes is light",
        module="arrival",
        old="heavy=len(request.crops) > self._limits.heavy_boxes or staging_ns",
        new="heavy=staging_ns",
    ),
    Mutant(
        name="a frame that takes long is light",
        module="arrival",
        old=" or staging_ns > self._limits.heavy_staging_ns",
        new="",
    ),
    Mutant(
        name="a heavy frame takes a core from light ones",
        module="staging",
        old="        frame.aside = frame.heavy\n",
        new="        frame.aside = False\n",
    ),
    Mutant(
        name="light frames wait for the crops of heavy ones",
        module="batcher",
        old="        if aside:\n            frames, crops",
        new="        if True:\n            frames, crops",
    ),
    Mutant(
        name="heavy frames are staged however many are in sight",
        module="batcher",
        old="        if aside:\n            frames, crops",
        new="        if False:\n            frames, crops",
    ),
    Mutant(
        name="heavy frames leave no memory for light ones",
        module="staging",
        old="        if frame.seems_heavy and self._aside_bytes:\n",
        new="        if False:\n",
    ),
    Mutant(
        name="the largest heavy frame is never staged",
        module="staging",
        old="        if frame.seems_heavy and self._aside_bytes:\n",
        new="        if frame.seems_heavy:\n",
    ),
    Mutant(
        name="a heavy frame that waits is forgotten when it is given up",
        module="ledger",
        old="        if frame.queue_entry is not None:\n            self._waiting_heavy -= frame.heavy\n",
        new="        if frame.queue_entry is not None:\n",
    ),
    Mutant(
        name="memory of heavy frames is counted for ever",
        module="staging",
        old="                self._aside_bytes -= frame.request.staged_bytes\n",
        new="                pass\n",
    ),
    # Slow ones.
    Mutant(
        name="a frame that turns out to be heavy keeps its core",
        module="staging",
        old="            if slow and self.aside_frames <",
        new="            if slow and self.aside_frames < 0 *",
    ),
    Mutant(
        name="as many are set aside as turn out to be heavy",
        module="staging",
        old="            if slow and self.aside_frames < SET_ASIDE * limits.staging_slots:\n",
        new="            if slow:\n",
    ),
    Mutant(
        name="a decoder is given up, and nobody is told",
        module="staging",
        old="                self.lost += 1\n                yield frame\n",
        new="                self.lost += 1\n",
    ),
    Mutant(
        name="a decoder that was given up keeps its slot",
        module="staging",
        old="                self._count(frame, -1)\n                frame.given_up = True\n",
        new="                frame.given_up = True\n",
    ),
    Mutant(
        name="a decoder that comes back late gives its slot back again",
        module="staging",
        old=(
            "        if frame.given_up:\n            self.lost -= 1\n"
            "        else:\n            self._count(frame, -1)\n"
        ),
        new="        self.lost -= frame.given_up\n        self._count(frame, -1)\n",
    ),
    Mutant(
        name="only the first slow frame is noticed",
        module="staging",
        old="                yield frame\n        self._watch(now)\n",
        new="                yield frame\n",
    ),
    Mutant(
        name="nobody looks earlier when a light frame begins beside heavy ones",
        module="staging",
        old=" or self._due_ns(frame, now) < self._timer.at_ns:",
        new=":",
    ),
    Mutant(
        name="who has waited for a place aside is not told that it is free",
        module="decoding",
        old="        if frame.aside:\n",
        new="        if False:\n",
        found_by=41,
    ),
    Mutant(
        name="a server without decoders goes on",
        module="decoding",
        old="        if staging.broken:\n",
        new="        if False:\n",
    ),
    Mutant(
        name="a frame that is given up is not answered",
        module="decoding",
        old="            self._ledger.resolve(frame, staging_timeout(self._limits.staging_timeout_ns), effects)\n",
        new="",
    ),
    # Who pays.
    Mutant(
        name="frames that are refused cost nothing",
        module="scheduler",
        old="fault, effects)\n            self._sources.charge(frame.session.terms.source, spent_ns, now)\n",
        new="fault, effects)\n",
    ),
    Mutant(
        name="frames that find no room cost nothing",
        module="scheduler",
        old="frame.fault.reason in REFUSED_FOR_ROOM:",
        new="False:",
    ),
    Mutant(
        name="a staging that cost more than was told costs nothing",
        module="sources",
        old="            self.charge(name, spent_ns - expected_ns, now)\n",
        new="            pass\n",
    ),
    Mutant(
        name="an estimate that is a little wrong is paid for",
        module="sources",
        old="spent_ns > OVERSPENT * expected_ns",
        new="spent_ns > expected_ns",
    ),
    Mutant(
        name="a decoder that never ended costs nothing",
        module="decoding",
        old="            self._sources.charge(frame.session.terms.source, now - frame.staging_ns, now)\n",
        new="",
    ),
    Mutant(
        name="everybody pays for one",
        module="sources",
        old="        for session in source.sessions.values():\n",
        new="        for session in [s for other in self._by_name.values() for s in other.sessions.values()]:\n",
    ),
    Mutant(
        name="only the session that did it pays",
        module="sources",
        old="        for session in source.sessions.values():\n",
        new="        for session in list(source.sessions.values())[:1]:\n",
    ),
    Mutant(
        name="a new session does not pay",
        module="sources",
        old="        session.paused, session.slowed = source.paused, self._is_slowed(source)\n\n    def leave",
        new="\n    def leave",
    ),
    Mutant(
        name="a debt goes with the last session",
        module="sources",
        old="        if not source.sessions and not self._is_slowed(source) and not source.read_in_vain_ns:\n",
        new="        if not source.sessions:\n            self._paused.pop(source.number, None)\n",
    ),
    Mutant(
        name="a debt that grows is paid when the first part of it is",
        module="sources",
        old="        if source.until_ns > now:\n",
        new="        if source.until_ns > now + 10**12:\n",
    ),
    Mutant(
        name="debts grow without end",
        module="sources",
        old="PENALTY * cost_ns, now + LONGEST_PAUSE_NS)",
        new="PENALTY * cost_ns, now + 1000 * LONGEST_PAUSE_NS)",
    ),
    Mutant(
        name="who has paid is not read again",
        module="sources",
        old=(
            "        del self._paused[number]\n"
            "        self._slowed -= not self._is_slowed(source)\n        self._tell(source)\n"
        ),
        new="        del self._paused[number]\n        self._slowed -= not self._is_slowed(source)\n",
    ),
    Mutant(
        name="a session that must leave is read while its source pays",
        module="state",
        old="        if self.paused:\n            return False\n        if self.draining:\n",
        new="        if self.paused and not self.draining:\n            return False\n        if self.draining:\n",
    ),
    Mutant(
        name="frames of a source with a slow one are light",
        module="sources",
        old="        source.suspects += 1\n",
        new="",
    ),
    Mutant(
        name="a source is slowed for ever",
        module="decoding",
        old="            self._sources.clear(frame.session.terms.source)\n",
        new="",
    ),
    Mutant(
        name="frames that wait already stay light when their source is slowed",
        module="ledger",
        old="wanted=lambda frame: frame.seems_heavy is heavy",
        new="wanted=lambda frame: frame.heavy is heavy",
    ),
    Mutant(
        name="nobody looks for heavy frames among those that were light",
        module="ledger",
        old="(self._sources.any_slowed and self.waiting)",
        new="False",
    ),
    # Costs.
    Mutant(
        name="frames take turns by their boxes",
        module="ledger",
        old="cost=frame.cost_ns",
        new="cost=len(frame.request.crops) * TURN_NS_PER_BOX",
    ),
    Mutant(
        name="staging costs nothing in turns",
        module="arrival",
        old="cost_ns=max(1, staging_ns + self._crops_ns(request))",
        new="cost_ns=max(1, self._crops_ns(request))",
    ),
    Mutant(
        name="what crops cost is never learned",
        module="batcher",
        old="        self.box_ns += (cost - self.box_ns) // BOX_WEIGHT\n",
        new="",
    ),
    Mutant(
        name="what stagings cost is never learned",
        module="sources",
        old="                source.price += (price - source.price) * PRICE_WEIGHT\n",
        new="                pass\n",
    ),
    Mutant(
        name="a new source is thought to cost what its headers say",
        module="sources",
        old="Source(name, self._made, self._price)",
        new="Source(name, self._made, 1.0)",
        found_by=157,
    ),
    Mutant(
        name="a round too many is skipped",
        module="fair_queue",
        old="lane.first().cost)) // self._quantum) for lane in lanes) - 1\n",
        new="lane.first().cost)) // self._quantum) for lane in lanes)\n",
        found_by=83,
    ),
)
