"""Faults in who pays for reading that was for nothing."""

from __future__ import annotations

from tests.simulation.planting import Mutant

READING = (
    # What is for nothing.
    Mutant(
        name="frames that are given up before any work cost nothing to read",
        module="ledger",
        old="if not frame.started and frame.reading_ns and not refused:",
        new="if fault is None and frame.reading_ns and not refused:",
        found_by=4,
    ),
    Mutant(
        name="frames of a client that vanished cost nothing to read",
        module="ledger",
        old="if not frame.started and frame.reading_ns and not refused:",
        new="if not frame.started and frame.reading_ns and not refused and not session.gone:",
        found_by=70,
    ),
    Mutant(
        name="frames without crops cost nothing to read",
        module="ledger",
        old="if not frame.started and frame.reading_ns and not refused:",
        new="if not frame.started and frame.reading_ns and not refused and fault is not None:",
        found_by=10,
    ),
    Mutant(
        name="frames that were worked on are read for nothing",
        module="ledger",
        old="if not frame.started and frame.reading_ns and not refused:",
        new="if frame.reading_ns and not refused:",
        found_by=4,
    ),
    Mutant(
        name="a frame that finds no room is paid for twice",
        module="ledger",
        old="if not frame.started and frame.reading_ns and not refused:",
        new="if not frame.started and frame.reading_ns:",
        found_by=9,
    ),
    Mutant(
        name="to answer costs nothing",
        module="ledger",
        old="ANSWERING_NS if fault is not None and not session.gone else 0",
        new="0",
        found_by=4,
    ),
    Mutant(
        name="a client that vanished pays for answers that it does not get",
        module="ledger",
        old="ANSWERING_NS if fault is not None and not session.gone else 0",
        new="ANSWERING_NS if fault is not None else 0",
        found_by=70,
    ),
    Mutant(
        name="reading takes as long as it likes",
        module="scheduler",
        old="if not frame.resolved and spent_ns > usual:",
        new="if False:",
        found_by=4,
    ),
    Mutant(
        name="all of a slow reading is for nothing",
        module="scheduler",
        old="self._sources.read_in_vain(frame.session.terms.source, spent_ns - usual)",
        new="self._sources.read_in_vain(frame.session.terms.source, spent_ns)",
        found_by=4,
    ),
    Mutant(
        name="a slow reading counts again when its frame is given up",
        module="scheduler",
        old="                frame.reading_ns = usual  # what is left, if it is given up\n",
        new="",
        found_by=4,
    ),
    Mutant(
        name="reading may take longer than a frame's work",
        module="scheduler",
        old="min(frame.cost_ns, usual_reading_ns(frame.boxes))",
        new="usual_reading_ns(frame.boxes)",
        found_by=22,
    ),
    Mutant(
        name="pixels are read in no time",
        module="scheduler",
        old=" + USUAL_BYTE_NS * request.message_bytes\n",
        new="\n",
        found_by=4,
    ),
    Mutant(
        name="crops are read in no time",
        module="sources",
        old="    return USUAL_FRAME_NS + USUAL_CROP_NS * crops\n",
        new="    return USUAL_FRAME_NS\n",
        found_by=4,
    ),
    # Who pays, and how much.
    Mutant(
        name="reading for nothing is never settled",
        module="scheduler",
        old="        self._sources.settle(now)  # before staging: all frames of those who pay are heavy\n",
        new="",
        found_by=4,
    ),
    Mutant(
        name="reading for nothing is settled once for each source",
        module="sources",
        old="            spent, source.read_in_vain_ns = source.read_in_vain_ns, 0\n",
        new="            spent = source.read_in_vain_ns\n",
        found_by=4,
    ),
    Mutant(
        name="reading for nothing is settled after staging",
        module="scheduler",
        old=(
            "        self._sources.settle(now)  # before staging: all frames of those who pay are heavy\n"
            "        self._inference.start(now, effects)\n"
            "        while (frame := self._ledger.next_to_stage(now)) is not None and frame.payload is not None:\n"
            "            effects.append(Stage(frame=frame.key, payload=frame.payload, aside=frame.aside))\n"
        ),
        new=(
            "        self._inference.start(now, effects)\n"
            "        while (frame := self._ledger.next_to_stage(now)) is not None and frame.payload is not None:\n"
            "            effects.append(Stage(frame=frame.key, payload=frame.payload, aside=frame.aside))\n"
            "        self._sources.settle(now)\n"
        ),
        found_by=4,
    ),
    Mutant(
        name="another pays for what was read for nothing",
        module="sources",
        old="                self._pause(source, PENALTY",
        new="                self._pause(next(iter(self._by_name.values())), PENALTY",
        found_by=4,
    ),
    Mutant(
        name="a larger part is free than was said",
        module="sources",
        old="before + part * spent\n",
        new="before + (part - 1) * spent\n",
        found_by=4,
    ),
    Mutant(
        name="time without reading is saved up",
        module="sources",
        old="before = max(source.free_from_ns, now)\n",
        new="before = source.free_from_ns or now\n",
        found_by=4,
    ),
    Mutant(
        name="nothing is free at once",
        module="sources",
        old="            if source.free_from_ns > now + part * FREE_AT_ONCE_NS:\n",
        new="            if source.free_from_ns > now:\n",
        found_by=4,
    ),
    Mutant(
        name="whoever has paid still owes what is beyond the free part",
        module="sources",
        old="                source.free_from_ns = max(before, now + part * FREE_AT_ONCE_NS)\n",
        new="",
        found_by=4,
    ),
    Mutant(
        name="whoever has paid owes nothing",
        module="sources",
        old="                source.free_from_ns = max(before, now + part * FREE_AT_ONCE_NS)\n",
        new="                source.free_from_ns = now\n",
        found_by=10,
    ),
    # Many together.
    Mutant(
        name="each of many has as much free as one alone",
        module="sources",
        old="part = max(FREE_PART, FREE_PART_TOGETHER *",
        new="part = max(FREE_PART, 0 *",
        found_by=4,
    ),
    Mutant(
        name="whoever has not begun yet shares what is free",
        module="spenders",
        old=" + sum(name not in self._until for name in begin)",
        new="",
        found_by=4,
    ),
    Mutant(
        name="whoever spends already counts twice when it spends again",
        module="spenders",
        old="sum(name not in self._until for name in begin)",
        new="len(begin)",
        found_by=4,
    ),
    Mutant(
        name="whoever has all again still shares what is free",
        module="spenders",
        old="                del self._until[name]\n",
        new="                pass\n",
        found_by=4,
    ),
    Mutant(
        name="whoever spends on is counted until its first time alone",
        module="spenders",
        old=(
            "                heapq.heappush(self._heap, (until, name))\n"
            "            else:\n"
            "                del self._until[name]\n"
        ),
        new="                pass\n            del self._until[name]\n",
        found_by=4,
    ),
    Mutant(
        name="each of many pays no longer than one alone",
        module="sources",
        old="max(PENALTY, PENALTY_TOGETHER * (1 + others)) * cost_ns",
        new="PENALTY * cost_ns",
        found_by=4,
    ),
    Mutant(
        name="whoever pays already counts among the others",
        module="sources",
        old="other is not source and other.until_ns > now",
        new="other.until_ns > now",
        found_by=6,
    ),
    Mutant(
        name="what many pay for the free part is what one pays",
        module="sources",
        old="PENALTY * part // FREE_PART * spent",
        new="PENALTY * spent",
        found_by=4,
    ),
    # Who leaves.
    Mutant(
        name="what was read for nothing is forgotten when a source leaves",
        module="sources",
        old="            if source.free_from_ns:\n",
        new="            if False:\n",
        found_by=4,
    ),
    Mutant(
        name="what was read for nothing is forgotten when a source comes back",
        module="sources",
        old="            source.free_from_ns = self._gone.pop(name, 0)\n",
        new="            self._gone.pop(name, 0)\n",
        found_by=6,
    ),
    Mutant(
        name="what is not settled is forgotten when a source leaves",
        module="sources",
        old=" and not self._is_slowed(source) and not source.read_in_vain_ns:\n",
        new=" and not self._is_slowed(source):\n",
        found_by=41,
    ),
    Mutant(
        name="a source that left before it was settled stays for ever",
        module="sources",
        old="            self._spenders.note(source.name, source.free_from_ns)\n            self._forget(source)\n",
        new="            self._spenders.note(source.name, source.free_from_ns)\n",
        found_by=41,
    ),
    Mutant(
        name="all sources that ever came are remembered",
        module="sources",
        old="                if len(self._gone) > self._most_gone:\n",
        new="                if False:\n",
        found_by=4,
    ),
    Mutant(
        name="one source fewer is remembered",
        module="sources",
        old="                if len(self._gone) > self._most_gone:\n",
        new="                if len(self._gone) >= self._most_gone:\n",
        found_by=4,
    ),
    Mutant(
        name="the source that left last is forgotten",
        module="sources",
        old="                    del self._gone[next(iter(self._gone))]\n",
        new="                    self._gone.popitem()\n",
        found_by=4,
    ),
)
