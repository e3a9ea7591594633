"""`python -m bench tracks`: what track memory saves and costs, what quality and a track's vector are worth.

Prints the tables of docs/tracks.md. Drawn clips are kept under --keep, so a second run only looks rows up. Trap: what
is kept is named by the clip and the model, not by the code that drew it; remove the folder after a change of either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tqdm import tqdm

from reidstream_engines import default_model
from reidstream_engines.parser import Parser
from reidstream_server.tracks.terms import EveryFrame, OnRisk

from .clips import Clip, Drawn, drawn, mot17
from .figure import Curve, figure
from .quality import Rejection, crops_of, rejections
from .saving import FULL, Point, looks_of, points, ways
from .track_vector import Ranked, crops_in, later_half, one_wrong, ranked, tracks_of
from .tracker import Looks
from .vectors import Embedder

CHOSEN_ON = tuple(
    Drawn(seed=seed, camera=camera, people=people, frames=600, looks=2)
    for seed, people in ((11, 12), (12, 18))
    for camera in (0, 1)
)
"""The clips by which the default policy was chosen. They are not among those that are reported."""
REPORTED = tuple(
    Drawn(seed=seed, camera=camera, people=people, frames=600, looks=2)
    for seed, people in ((21, 10), (22, 16))
    for camera in (0, 1)
)
QUICK = tuple(Drawn(seed=31, camera=camera, people=10, frames=120) for camera in (0, 1))


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 1 if a target is missed."""
    parser = Parser(
        prog="python -m bench tracks",
        description="What track memory saves and costs, what quality and a track's vector are worth, as Markdown.",
    )
    parser.add_argument(
        "--model", type=Path, default=default_model.PATH, help="ONNX file (default: the embedded model)"
    )
    parser.add_argument("--profile", help="its preprocessing, if the file does not say it")
    parser.add_argument("--data", type=Path, help="folder with frames/MOT17-*; without it, drawn clips only")
    parser.add_argument("--keep", type=Path, default=Path("out/tracks"), help="where clips are kept (out/tracks)")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="write the figure of policies there, as SVG")
    parser.add_argument("--quick", action="store_true", help="two clips of 120 frames: a first look")
    parser.add_argument("--chosen-on", action="store_true", help="the clips by which the default policy was chosen")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that draw clips (default 1)")
    options = parser.parse_args(argv)
    wanted = QUICK if options.quick else CHOSEN_ON if options.chosen_on else REPORTED
    clips = all_drawn(wanted, options.model, options.profile, options.keep, options.jobs)
    for line in report(clips, options.data, Embedder(options.model, options.profile), options.figure):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


def all_drawn(wanted: Sequence[Drawn], model: Path, profile: str | None, keep: Path | None, jobs: int) -> list[Clip]:
    """The clips, drawn by `jobs` processes where they are not kept."""
    found: list[Clip] = []
    with tqdm(total=len(wanted), desc="drawing", unit="clip", file=sys.stderr) as bar:
        if jobs > 1:
            with ProcessPoolExecutor(jobs) as pool:
                for clips in pool.map(_drawn, [(one, model, profile, keep) for one in wanted]):
                    found += clips
                    bar.update()
        else:
            embedder = Embedder(model, profile)
            for one in wanted:
                found += drawn(one, embedder, keep)
                bar.update()
    return found


def _drawn(asked: tuple[Drawn, Path, str | None, Path | None]) -> list[Clip]:
    wanted, model, profile, keep = asked
    return drawn(wanted, Embedder(model, profile), keep)


def report(clips: Sequence[Clip], data: Path | None, embedder: Embedder, picture: Path | None) -> Iterator[str]:
    """The lines, as they are ready."""
    boxes = sum(len(moment.rects) for clip in clips for moment in clip.moments)
    yield f"`{embedder.name}`, {len(clips)} drawn clips, {sum(len(c.moments) for c in clips)} frames, {boxes} boxes"
    looks = looks_of(clips)
    yield from _saving("drawn clips", clips, looks, picture)
    real = list(mot17(data / "frames", embedder)) if data is not None else []
    if real:
        yield from _saving("MOT17, 4 to 8 frames each", real, looks, None)
    yield ""
    yield "| set | score | crops | EER, all | a fifth less at random | by the score | lower by | rank correlation |"
    yield "|---" * 8 + "|"
    yield from _qualities("drawn", rejections(crops_of(clips, every_ns=2_000_000_000)))
    if real:
        yield from _qualities("MOT17", rejections(crops_of(real)))
    yield ""
    yield from _vectors(clips, real)


def _saving(name: str, clips: Sequence[Clip], looks: Looks, picture: Path | None) -> Iterator[str]:
    all_ways = ways()
    with tqdm(total=len(all_ways) * len(clips), desc=name, unit="clip", file=sys.stderr) as bar:
        found = points(clips, all_ways, looks, bar.update)
    yield ""
    yield f"{name}; far {looks.far:.3f}, same {looks.same:.3f}"
    yield ""
    yield "| policy | embedded | saved | IDF1 | loss, points | 95 % | id changed |"
    yield "|---" * 7 + "|"
    for point in found:
        yield (
            f"| {point.name} | {point.share:.1%} | {point.saved:.1%} | {100 * point.idf1:.2f} | {point.loss:+.2f} "
            f"| {point.low:+.2f} to {point.high:+.2f} | {point.changed} |"
        )
    yield ""
    chosen = next(point for point in found if point.name == "OnRisk")
    total = sum(chosen.reasons.values())
    yield "OnRisk: " + ", ".join(f"{why} {n / total:.1%}" for why, n in sorted(chosen.reasons.items()))
    if picture is not None:
        picture.write_text(figure("IDF1 by the share of boxes that are embedded", curves(found)), "utf-8")


def curves(found: Sequence[Point]) -> list[Curve]:
    """The points of each kind of policy, with that of every box."""

    def some(wanted: Callable[[str], bool]) -> list[tuple[float, float]]:
        return [(point.share, point.idf1) for point in found if wanted(point.name) or point.name == FULL]

    return [
        Curve(name="on risk", points=some(lambda name: name.startswith(OnRisk.__name__))),
        Curve(name="at intervals", points=some(lambda name: name.startswith("AtIntervals"))),
        Curve(name="every n-th frame, no memory", points=some(lambda name: name.startswith("every "))),
    ]


def _qualities(name: str, found: Sequence[Rejection]) -> Iterator[str]:
    for one in found:
        yield (
            f"| {name} | {one.name} | {one.crops} | {one.eer_all:.4f} | {one.eer_random:.4f} | {one.eer:.4f} "
            f"| {one.gain:.0%} | {one.correlation:.3f} |"
        )


def _vectors(clips: Sequence[Clip], real: Sequence[Clip]) -> Iterator[str]:
    found = list(_ranked(clips, real))
    kinds = list(found[0].errors)
    yield f"| set | tracks | queries | {' | '.join(kinds)} |"
    yield "|---" * (3 + len(kinds)) + "|"
    for one in found:
        yield f"| {one.name} | {one.tracks} | {one.queries} | {' | '.join(f'{one.errors[k]:.4f}' for k in kinds)} |"
    yield ""
    yield "| tracks | vector | one wrong crop: median cosine | 5 % | found | a right row left out |"
    yield "|---" * 6 + "|"
    for name, some, policy in (("drawn", clips, OnRisk()), ("MOT17", real, EveryFrame())):
        tracks = [track for clip in some for track in tracks_of(clip, policy)]
        if tracks:
            turned, caught, left_out = one_wrong(tracks)
            for one_turned in turned:
                yield (
                    f"| {name} | {one_turned.name} | {one_turned.median:.4f} | {one_turned.lowest:.4f} "
                    f"| {caught:.1%} | {left_out:.1%} |"
                )


def _ranked(clips: Sequence[Clip], real: Sequence[Clip]) -> Iterator[Ranked]:
    """Across cameras on drawn clips; within a sequence, from its first half to its second, on MOT17."""
    by_scene: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.name.endswith("look0"):
            by_scene.setdefault(clip.name.split("-c")[0], []).append(clip)
    for scene, cameras in by_scene.items():
        one, other = cameras[:2]
        queries = crops_in(other.moments, every=15)
        yield ranked(f"{scene}, other camera", tracks_of(one), queries)
        yield ranked(f"{scene}, other camera, OnRisk", tracks_of(one, OnRisk()), queries)
    if real:
        yield later_half("MOT17, later frames", real)
