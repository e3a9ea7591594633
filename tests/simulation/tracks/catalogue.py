"""The mutants of the room of tracks: small, realistic faults, each of which its simulator must find."""

from __future__ import annotations

from tests.simulation.planting import TRACKS, Mutant


def _of(module: str, name: str, old: str, new: str) -> Mutant:
    return Mutant(name=name, module=module, old=old, new=new, found_by=_FOUND_BY.get(name, 0), ground=TRACKS)


_FOUND_BY = {
    "ends that are not written have no bound": 17,
    "a full room does not keep a row from being promised": 35,
    "any lost source is the newest": 38,
    "too many tracks are adopted": 237,
}
"""A seed, for those that few seeds find."""


MUTANTS = (
    # What is decided.
    _of(
        "memory",
        "the last box is the one being decided about",
        "last = None if track.last is None else track.last.rect",
        "last = seen.rect",
    ),
    _of(
        "memory",
        "a box is embedded where its answer has room",
        "if not fits or needs_row(",
        "if fits or needs_row(",
    ),
    _of(
        "memory",
        "a full room does not keep a row from being promised",
        "if not fits or needs_row(",
        "if needs_row(",
    ),
    _of(
        "memory",
        "frames are counted from 0, whatever another server had",
        "self._number = frame_id if self._number is None else self._number + 1",
        "self._number = 0 if self._number is None else self._number + 1",
    ),
    _of(
        "memory",
        "frames are counted by their ids",
        "self._number = frame_id if self._number is None else self._number + 1",
        "self._number = frame_id",
    ),
    _of(
        "memory",
        "two boxes of a frame with one id belong to one track",
        "return None  # two boxes of a frame with one id: the first has it",
        "return track",
    ),
    _of("memory", "the source of a row is not noted", "source = track.source = RowSource(", "source = RowSource("),
    _of(
        "memory",
        "a gap as long as the time-out does not end a track",
        "taken_ns - track.last.taken_ns >= self.terms.timeout_ns",
        "taken_ns - track.last.taken_ns > 2 * self.terms.timeout_ns",
    ),
    _of(
        "memory",
        "the gap is measured by when boxes came",
        "track.last is not None and taken_ns - track.last.taken_ns >= self.terms.timeout_ns",
        "track.last is not None and now - track.came_ns >= self.terms.timeout_ns",
    ),
    _of("memory", "a track goes on with another model", "elif track.model not in (None, box.model):", "elif False:"),
    _of("memory", "tracks are not ordered by their newest box", "self._open.move_to_end(track.track_id)", "pass"),
    _of(
        "memory",
        "a track with frames in flight stays idle",
        "            self._idle.pop(track.track_id, None)\n            return track",
        "            return track",
    ),
    # What answers bring.
    _of(
        "memory",
        "a lost source is not forgotten",
        "        if track.source is source:\n            track.source = None",
        "        pass",
    ),
    _of(
        "memory",
        "any lost source is the newest",
        "        if track.source is source:\n            track.source = None",
        "        track.source = None",
    ),
    _of(
        "memory",
        "a box that was promised a row counts with none",
        "                    kept[box.index] = row\n",
        "                    kept[box.index] = row\n                    track.rows.count += 1\n",
    ),
    _of(
        "memory",
        "a cached box is no box of its track",
        "                    kept[box.index] = row\n                    track.has_row(frame.frame_id)\n",
        "                    kept[box.index] = row\n",
    ),
    _of(
        "memory",
        "an answer does not tell its box",
        "            track.told, track.told_last = True, box.last\n            if box.source is None:\n",
        "            track.told = True\n            if box.source is None:\n",
    ),
    _of(
        "memory",
        "snapshots though nobody asked",
        "                if self.terms.snapshots:\n",
        "                if True:\n",
    ),
    _of(
        "track",
        "a snapshot changes with its track",
        "total=rows.total.copy(),",
        "total=rows.total,",
    ),
    _of(
        "track",
        "the first frame of a track is its last",
        "        if self.first_frame_id is None:\n",
        "        if True:\n",
    ),
    _of(
        "track",
        "the rows of another server are forgotten",
        "rows.weight, rows.count, rows.latest, rows.kept = known.weight, known.count, known.latest, known.kept",
        "rows.weight, rows.count, rows.latest, rows.kept = known.weight, known.count, known.latest, ()",
    ),
    _of(
        "track",
        "the sum of another server is forgotten",
        "rows.total = np.array(known.total, np.float32)",
        "rows.total = np.zeros_like(known.total)",
    ),
    _of(
        "memory",
        "answers without rows keep their room",
        "        self.answer_written(frame)\n\n    def answer_written",
        "\n    def answer_written",
    ),
    _of("memory", "an answer's room is given back twice", "        frame.held_bytes = 0\n", "        pass\n"),
    # Ends.
    _of(
        "memory",
        "a track is told before its frames",
        "        if track.in_flight:\n            self._ending[track] = None\n        else:\n",
        "        self._ending[track] = None\n        if True:\n",
    ),
    _of(
        "memory",
        "a track that ended in flight is never told",
        "            del self._ending[track]\n            self._tell(track)",
        "            del self._ending[track]",
    ),
    _of(
        "memory",
        "a frame without vectors tells no box",
        "            track.told, track.told_last = True, box.last\n            if box.source is not None:",
        "            if box.source is not None:",
    ),
    _of(
        "memory",
        "the end of a track gives back no place",
        "            self._held -= 1\n",
        "",
    ),
    _of(
        "memory",
        "tracks in flight are not handed over",
        "for track in (*self._ending, *self._open.values()) if track.told",
        "for track in self._open.values() if track.told",
    ),
    _of(
        "memory",
        "tracks that nobody was told of are handed over",
        "for track in (*self._ending, *self._open.values()) if track.told",
        "for track in (*self._ending, *self._open.values())",
    ),
    _of(
        "memory",
        "a time-out is told a timeout late",
        "        return None if first is None else first.came_ns + self.terms.timeout_ns",
        "        return None if first is None else first.came_ns + 2 * self.terms.timeout_ns",
    ),
    _of(
        "memory",
        "one time-out at a time",
        "        while (due := self.due_ns()) is not None and due <= now:\n",
        "        if (due := self.due_ns()) is not None and due <= now:\n",
    ),
    # Bounds.
    _of(
        "memory",
        "one track too many",
        "            len(self._open) < bounds.max_tracks\n",
        "            len(self._open) <= bounds.max_tracks\n",
    ),
    _of(
        "memory",
        "ends that are not written have no bound",
        "            and self._held < _HELD * bounds.max_tracks\n",
        "",
    ),
    _of(
        "memory",
        "the newest track is evicted",
        "oldest = next(iter(self._open.values()), None)",
        "oldest = next(reversed(self._open.values()), None)",
    ),
    _of(
        "memory",
        "a track of the same frame is evicted",
        "if oldest is None or oldest.number == number or (",
        "if oldest is None or (",
    ),
    _of(
        "memory",
        "a track is evicted for each box while ends wait to be written",
        "(not full and self._ending_bytes >= self._track_bytes)",
        "False",
    ),
    _of(
        "memory",
        "a track takes no bytes",
        "        self._room.tracks.take(self._holder, self._track_bytes)\n",
        "",
    ),
    _of(
        "memory",
        "the room of a track is given back when it ends",
        "        self._ending_bytes += track.bytes\n        if track.in_flight",
        "        self._room.tracks.give_back(self._holder, track.bytes)\n        if track.in_flight",
    ),
    _of(
        "memory",
        "a session keeps what it held",
        "            pool.give_back(self._holder, pool.of(self._holder))\n",
        "            pass\n",
    ),
    _of("memory", "tracks of a closed session stay open", "        self._room.open -= len(self._open)\n", ""),
    _of(
        "memory",
        "too many tracks are adopted",
        "            fits = fits and self._room.tracks.fits(self._holder, self._track_bytes)\n",
        "",
    ),
    _of(
        "memory", "the oldest tracks are adopted first", "for snapshot in reversed(by_age):", "for snapshot in by_age:"
    ),
    # Rows.
    _of(
        "rows",
        "weights are not rounded",
        "return single(max(quality, LEAST_WEIGHT))",
        "return max(quality, LEAST_WEIGHT)",
    ),
    _of(
        "rows",
        "a box without quality weighs nothing",
        "return single(max(quality, LEAST_WEIGHT))",
        "return single(quality)",
    ),
    _of(
        "rows",
        "the sum is of rows without weights",
        "self.total += np.float32(weight) * vector",
        "self.total += vector",
    ),
    _of(
        "policy",
        "an interval of frames is one longer",
        "frame - source.frame >= frames",
        "frame - source.frame > frames",
    ),
    _of("policy", "an age is measured from the last box", "taken_ns - source.taken_ns > policy.max_age_ns", "False"),
)
