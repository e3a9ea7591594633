"""What a data set has, and what is wrong with it, found before anything is embedded.

Traps: the same picture under two names makes a query that finds itself. A picture that is cut short is decoded by many
programs, and its vector looks right.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import DISTRACTOR, Benchmark, Pictures, unmatched

from .files import damage, read_file


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCounts:
    """Of the queries, or of the gallery. `singles`: identities with one picture. `cameras`: pictures of each."""

    pictures: int
    files: int
    identities: int
    distractors: int
    singles: int
    cameras: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """`damaged`: file and what is wrong with it. `duplicates`: files with the same bytes. `unmatched`: queries that
    have nothing right to find. `digests`: sha256 of each file that was read, by its path.
    """

    query: SetCounts
    gallery: SetCounts
    junk: int
    damaged: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, ...], ...]
    unmatched: tuple[str, ...]
    digests: dict[str, str] = field(repr=False)

    def lines(self) -> list[str]:
        """For people."""
        lines = []
        for what, counts in (("queries", self.query), ("gallery", self.gallery)):
            cameras = ", ".join(f"{camera}: {count}" for camera, count in sorted(counts.cameras.items()))
            lines.append(
                f"{what}: {counts.pictures} pictures of {counts.identities} identities in {counts.files} files"
                + (f", {counts.distractors} distractors" if counts.distractors else "")
                + f"; by camera {cameras}"
            )
            if counts.singles:
                lines.append(f"  {counts.singles} identities have one picture")
        if self.junk:
            lines.append(f"junk, left out: {self.junk} pictures")
        lines += [f"damaged: {path}: {why}" for path, why in self.damaged]
        lines += [f"the same picture: {', '.join(paths)}" for paths in self.duplicates]
        lines += [f"nothing right to find: {name}" for name in self.unmatched]
        return lines


def check(benchmark: Benchmark, on_file: Callable[[], object] = lambda: None) -> Findings:
    """Read every file once. `on_file` is called after each."""
    used = sorted(
        {
            pictures.paths[file]
            for pictures in (benchmark.query, benchmark.gallery)
            for file in set(pictures.files.tolist())
        }
    )
    damaged: list[tuple[str, str]] = []
    digests: dict[str, str] = {}
    same: dict[str, list[str]] = {}
    for path in used:
        try:
            data = read_file(Path(path))
        except FileError as error:
            damaged.append((path, str(error)))
        else:
            wrong = damage(data)
            if wrong:
                damaged.append((path, wrong))
            digests[path] = hashlib.sha256(data).hexdigest()
            same.setdefault(digests[path], []).append(path)
        on_file()
    return Findings(
        query=_counts(benchmark.query),
        gallery=_counts(benchmark.gallery),
        junk=benchmark.junk,
        damaged=tuple(damaged),
        duplicates=tuple(tuple(paths) for paths in same.values() if len(paths) > 1),
        unmatched=tuple(benchmark.query.names[row] for row in unmatched(benchmark)),
        digests=digests,
    )


def refuse(findings: Findings, name: str) -> None:
    """Raises FileError for what would make a figure wrong: damaged files, and queries with nothing to find."""
    if findings.damaged:
        path, why = findings.damaged[0]
        more = f" ({len(findings.damaged)} files are damaged)" if len(findings.damaged) > 1 else ""
        raise FileError(f"{path} cannot be used: {why}{more}; copy it anew, or take it out of {name}")
    if findings.unmatched:
        first = findings.unmatched[0]
        more = f", nor have {len(findings.unmatched) - 1} others" if len(findings.unmatched) > 1 else ""
        raise FileError(
            f"the query {first} has no picture in the gallery that would be right{more}; take such queries out of "
            f"{name}, or use --protocol all-cameras if pictures of the same camera count"
        )


def _counts(pictures: Pictures) -> SetCounts:
    people = Counter(pictures.identities[pictures.identities > DISTRACTOR].tolist())
    return SetCounts(
        pictures=len(pictures),
        files=len(np.unique(pictures.files)),
        identities=len(people),
        distractors=int((pictures.identities == DISTRACTOR).sum()),
        singles=sum(count == 1 for count in people.values()),
        cameras=dict(Counter(pictures.cameras.tolist())),
    )
