"""HOTA, IDF1, MOTA and ID switches of a tracker's results, by the package trackeval.

It is installed without its dependencies (`pip install --no-deps trackeval`): it asks for opencv-python, which would
overwrite any other OpenCV that is there, and what is used of it needs NumPy and SciPy alone.

The ground truth is prepared as MOTChallenge does it: boxes of results that lie on a person who does not count (somebody
who sits, a reflection, a statue) are taken out, and then everything that is not considered. Trap: without that step a
good detector is punished, and figures are not those of the benchmark.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError, MissingExtra
from reidstream_client.evaluation.datasets.motchallenge import TruthRows, read_rows

_PEDESTRIAN: Final = 1
_NOT_COUNTED: Final = (2, 7, 8, 12)  # on a vehicle, static, distractor, reflection
_OVERLAP: Final = 0.5

Doubles = npt.NDArray[np.float64]
Assign = Callable[[Doubles], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingFigures:
    """Shares of 0 to 1 (MOTA can be below 0), and counts."""

    hota: float
    deta: float
    assa: float
    idf1: float
    mota: float
    id_switches: int
    false_positives: int
    misses: int
    frames: int
    true_boxes: int
    result_boxes: int


def tracking_figures(truth: Path, results: Path) -> TrackingFigures:
    """The figures of a file of results against ground truth, both MOTChallenge text. Raises FileError, MissingExtra."""
    package, assign = _trackeval()
    data = _prepare(read_rows(truth), read_rows(results), truth, results, assign)
    with contextlib.redirect_stdout(io.StringIO()):  # each metric prints its configuration
        hota = package.metrics.HOTA().eval_sequence(data)
        clear = package.metrics.CLEAR().eval_sequence(data)
        identity = package.metrics.Identity().eval_sequence(data)
    return TrackingFigures(
        hota=float(np.mean(hota["HOTA"])),
        deta=float(np.mean(hota["DetA"])),
        assa=float(np.mean(hota["AssA"])),
        idf1=float(identity["IDF1"]),
        mota=float(clear["MOTA"]),
        id_switches=int(clear["IDSW"]),
        false_positives=int(clear["CLR_FP"]),
        misses=int(clear["CLR_FN"]),
        frames=int(data["num_timesteps"]),
        true_boxes=int(data["num_gt_dets"]),
        result_boxes=int(data["num_tracker_dets"]),
    )


def _trackeval() -> tuple[Any, Assign]:
    try:
        import scipy.optimize  # noqa: PLC0415 - optional

        with contextlib.redirect_stdout(io.StringIO()):  # it tells which of its data sets lack a package
            import trackeval  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtra(
            "tracking figures need the package trackeval: pip install 'reidstream-client[evaluate]', and then "
            "pip install --no-deps trackeval (its dependencies would overwrite OpenCV)"
        ) from None
    return trackeval, scipy.optimize.linear_sum_assignment


def _prepare(
    truth: TruthRows, results: TruthRows, truth_path: Path, results_path: Path, assign: Assign
) -> Mapping[str, Any]:
    """What trackeval's metrics take."""
    if not (truth.considered & (truth.classes == _PEDESTRIAN)).any():
        raise FileError(f"{truth_path} has no box that counts (considered 1, class 1)")
    for path, rows in ((truth_path, truth), (results_path, results)):
        pairs = np.stack([rows.frames, rows.identities], axis=1)
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        if (counts > 1).any():
            frame, identity = unique[int(counts.argmax())].tolist()
            raise FileError(f"{path} has id {identity} twice in frame {frame}")
    last = int(max(truth.frames.max(initial=0), results.frames.max(initial=0)))
    true_ids: list[npt.NDArray[np.int64]] = []
    result_ids: list[npt.NDArray[np.int64]] = []
    overlaps: list[Doubles] = []
    for frame in range(1, last + 1):
        mine, theirs = truth.frames == frame, results.frames == frame
        overlap = overlap_of(truth.ltwh[mine], results.ltwh[theirs])
        kept = _kept(truth.classes[mine], overlap, assign)
        counts_here = truth.considered[mine] & (truth.classes[mine] == _PEDESTRIAN)
        true_ids.append(truth.identities[mine][counts_here])
        result_ids.append(results.identities[theirs][kept])
        overlaps.append(overlap[counts_here][:, kept])
    true_numbers, true_ids = _renumbered(true_ids)
    result_numbers, result_ids = _renumbered(result_ids)
    return {
        "gt_ids": true_ids,
        "tracker_ids": result_ids,
        "similarity_scores": overlaps,
        "num_timesteps": last,
        "num_gt_ids": true_numbers,
        "num_tracker_ids": result_numbers,
        "num_gt_dets": sum(len(ids) for ids in true_ids),
        "num_tracker_dets": sum(len(ids) for ids in result_ids),
    }


def _kept(classes: npt.NDArray[np.int64], overlap: Doubles, assign: Assign) -> npt.NDArray[np.bool_]:
    """Which boxes of a frame's results stay: those that lie on nobody, or on somebody who counts."""
    kept = np.ones(overlap.shape[1], np.bool_)
    if overlap.size:
        enough = np.where(overlap >= _OVERLAP - np.finfo(float).eps, overlap, 0)
        rows, columns = assign(-enough)
        met = enough[rows, columns] > 0
        kept[columns[met & np.isin(classes[rows], _NOT_COUNTED)]] = False
    return kept


def overlap_of(first: Doubles, second: Doubles) -> Doubles:
    """(N, M) intersection over union of boxes left, top, width, height."""
    near = np.maximum(first[:, None, :2], second[None, :, :2])
    far = np.minimum(first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:])
    shared = np.prod(np.maximum(far - near, 0), axis=2)
    union = np.prod(first[:, 2:], axis=1)[:, None] + np.prod(second[:, 2:], axis=1)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _renumbered(ids: list[npt.NDArray[np.int64]]) -> tuple[int, list[npt.NDArray[np.int64]]]:
    """How many identities there are, and the same ids as 0, 1, 2, ..."""
    known = np.unique(np.concatenate(ids)) if ids else np.zeros(0, np.int64)
    return len(known), [np.searchsorted(known, own).astype(np.int64) for own in ids]
