"""A data set of any layout, as a benchmark: queries, a gallery, and what a query may find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import Benchmark, Pictures, Protocol, make_benchmark

from . import folders, market
from .motchallenge import read_sequences, sequences
from .splitting import each_in_turn, first_of_each
from .tao import read_list


class Layout(Enum):
    """How a data set says who is seen."""

    MARKET = "market"
    FOLDERS = "folders"
    MOTCHALLENGE = "motchallenge"
    TAO = "tao"


class Split(Enum):
    """How one set of pictures becomes queries and a gallery."""

    FIRST = "first"
    """The first picture of each identity is the query, and all others are the gallery."""
    EACH = "each"
    """Every picture is a query in turn, and all others are the gallery."""
    GIVEN = "given"
    """The data set has both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a data set is read. None: as it says itself.

    layout             what the names mean
    protocol           default: cross-camera where cameras are known
    split              for one set of pictures; default: first for MOTChallenge, else each
    min_visibility     of MOTChallenge ground truth, 0 to 1
    shared_identities  the sequences of a MOTChallenge folder have the same people under the same ids
    query, gallery     folders or lists in place of the data set's own
    """

    layout: Layout | None = None
    protocol: Protocol | None = None
    split: Split | None = None
    min_visibility: float = 0.0
    shared_identities: bool = False
    query: Path | None = None
    gallery: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A benchmark, where it comes from, and how it was split."""

    path: Path
    layout: Layout
    split: Split
    benchmark: Benchmark


def open_dataset(path: Path, reading: Reading) -> Dataset:
    """Read the names of all pictures, and no picture. Raises FileError."""
    query_at, gallery_at = _two_sets(path, reading)
    layout = reading.layout or _layout_of(path, query_at)
    if layout is Layout.MOTCHALLENGE and query_at is not None:
        raise FileError("MOTChallenge sequences have no query and gallery of their own; use --split first or each")
    if reading.min_visibility and layout is not Layout.MOTCHALLENGE:
        raise FileError(f"--min-visibility needs MOTChallenge ground truth, and {path} is of the layout {layout.value}")
    numbers: dict[str, int] = {}
    if query_at is None or gallery_at is None:
        return _one_set(path, layout, _read(path, layout, path, reading, numbers), reading)
    query, gallery = (_read(place, layout, path, reading, numbers) for place in (query_at, gallery_at))
    if reading.split not in {None, Split.GIVEN}:
        raise FileError(f"{path} has queries and a gallery of its own: leave --split out")
    protocol = _protocol_of(path, layout, (query, gallery), reading)
    benchmark = make_benchmark(path.resolve().name, query, gallery, protocol)
    return Dataset(path=path, layout=layout, split=Split.GIVEN, benchmark=benchmark)


def _one_set(path: Path, layout: Layout, pictures: Pictures, reading: Reading) -> Dataset:
    """Split it."""
    name, protocol = path.resolve().name, _protocol_of(path, layout, (pictures,), reading)
    split = reading.split or (Split.FIRST if layout is Layout.MOTCHALLENGE else Split.EACH)
    if split is Split.GIVEN:
        raise FileError(f"{path} has no query and gallery of its own: --split first or each makes them")
    make = first_of_each if split is Split.FIRST else each_in_turn
    return Dataset(path=path, layout=layout, split=split, benchmark=make(name, pictures, protocol))


def _read(place: Path, layout: Layout, root: Path, reading: Reading, numbers: dict[str, int]) -> Pictures:
    """One set. `numbers`: identities by the names of their folders, for both sets."""
    above = root if place.is_relative_to(root) else place.parent
    match layout:
        case Layout.MARKET:
            return market.read_market(place, root=above)
        case Layout.FOLDERS:
            return folders.read_folders(place, root=above, numbers=numbers)
        case Layout.TAO:
            return read_list(place)
        case Layout.MOTCHALLENGE:
            return read_sequences(place, min_visibility=reading.min_visibility, shared=reading.shared_identities)


def _two_sets(path: Path, reading: Reading) -> tuple[Path | None, Path | None]:
    """Where queries and gallery are, if they are two."""
    if (reading.query is None) != (reading.gallery is None):
        raise FileError("--query and --gallery belong together: give both, or none")
    if reading.query is not None:
        for place in (reading.query, reading.gallery):
            if place is not None and not place.exists():
                raise FileError(f"{place} does not exist")
        return reading.query, reading.gallery
    if not path.exists():
        raise FileError(f"{path} does not exist")
    if path.is_file():
        raise FileError(f"{path} is a file: give a folder, or TAO's lists as --query FILE --gallery FILE")
    for query, gallery in ((market.QUERY, market.GALLERY), (folders.QUERY, folders.GALLERY)):
        if (path / query).is_dir() and (path / gallery).is_dir():
            return path / query, path / gallery
    return None, None


def _layout_of(path: Path, query_at: Path | None) -> Layout:
    place = query_at or path
    if place.is_file():
        return Layout.TAO
    if sequences(place):
        return Layout.MOTCHALLENGE
    if market.is_market(place):
        return Layout.MARKET
    if folders.is_folders(place):
        return Layout.FOLDERS
    raise FileError(
        f"{place} is of no layout that is known: it has no pictures with names such as 0002_c1s1_000451_03.jpg, no "
        "folder for each identity, and no MOTChallenge sequence with ground truth; see docs/evaluation.md"
    )


def _protocol_of(path: Path, layout: Layout, sets: Sequence[Pictures], reading: Reading) -> Protocol:
    """As asked for; else by whether cameras are known. Raises FileError if the first needs the second."""
    cameras = {camera for pictures in sets for camera in pictures.cameras.tolist()}
    protocol = reading.protocol
    if protocol is Protocol.CROSS_CAMERA and cameras == {0}:
        raise FileError(f"{path} does not say which camera took a picture; use --protocol all-cameras")
    if protocol is not None:
        return protocol
    apart = layout is Layout.MOTCHALLENGE and not reading.shared_identities  # nobody is seen twice
    return Protocol.ALL_CAMERAS if apart or len(cameras) == 1 else Protocol.CROSS_CAMERA
