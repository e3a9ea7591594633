"""Remembers in a file how a model was tuned on a machine, so that the next start need not measure, and is the same.

Why the key is long: a plan is good for one network on one kind of processor, with so many cores and these versions.
Anything else is another entry of the file, and is measured anew. The model is known by the bytes of its files, not by
its name, and not by the sha256 that it carries: a file that was made from another one may have that one's.

Traps: the file is the operator's, and may be anything: half a file, or a file of somebody else whose path was given by
mistake. What cannot be read as ours is never used, and never written over. Several servers may write it at a time: it
is replaced as a whole, so the worst is that an entry is lost and measured again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile

from . import __version__
from .errors import TuningFileUnusable
from .external_data import external_files
from .space import sha256_file
from .tuning import FixedFigures, RunPlan, Tuning

_FORMAT_KEY, _FORMAT = "reidstream_tuning", 1
_MOST = 500
"""Entries of a file; the oldest go first."""

_PLAN_KEYS = ("threads_per_call", "slots", "max_batch")
_NEXT = "remove it, or name another file"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedFor:
    """What a plan was measured for. `model_sha256`: of the file with its weights. `library`: with its version."""

    model_sha256: str
    cpu: str
    cores: int
    library: str
    precision: str
    engines: str
    fixed: FixedFigures

    def as_fields(self) -> dict[str, object]:
        """As it stands in the file."""
        return asdict(self)


def tuned_for(path: Path, *, cores: int, package: str, precision: str, fixed: FixedFigures) -> TunedFor:
    """The key of the model file at `path` on this machine. `package`: the inference library's.

    Raises TuningFileUnusable if the model cannot be read.
    """
    try:
        sha = sha256_file(path, *external_files(path))
    except OSError as error:
        raise TuningFileUnusable(f"{path} cannot be read: {error.strerror}") from error
    return TunedFor(
        model_sha256=sha,
        cpu=cpu_name(),
        cores=cores,
        library=f"{package} {_version(package)}",
        precision=precision,
        engines=__version__,
        fixed=fixed,
    )


def tuned(
    file: Path, key: Callable[[], TunedFor], measure: Callable[[], Tuning], complain: Callable[[str], object]
) -> Tuning:
    """What `file` remembers for a key; else what `measure` finds, which is remembered if anything was measured.

    `complain`: told why the file cannot be used; the model is then measured as if there were none. Raises what
    `measure` raises.
    """
    try:
        wanted = key()
        plan = recall(file, wanted)
    except TuningFileUnusable as error:
        complain(str(error))
        return measure()
    if plan is not None:
        return Tuning(plan=plan, remembered=True)
    tuning = measure()
    if tuning.crops_per_s:
        try:
            remember(file, wanted, tuning)
        except TuningFileUnusable as error:
            complain(str(error))
    return tuning


def recall(file: Path, key: TunedFor) -> RunPlan | None:
    """The plan that `file` has for `key`; None if it has none, or is not there yet. Raises TuningFileUnusable."""
    wanted = key.as_fields()
    return next((_plan(line, file) for line in reversed(_lines(file)) if line.get("for") == wanted), None)


def remember(file: Path, key: TunedFor, tuning: Tuning) -> None:
    """Add a plan to `file`, in the place of an older one for the same key. Raises TuningFileUnusable."""
    wanted = key.as_fields()
    kept = [line for line in _lines(file) if line.get("for") != wanted]
    rate = tuning.crops_per_s.get(tuning.plan)
    line: dict[str, object] = {"for": wanted, "plan": asdict(tuning.plan), "crops_per_s": rate and round(rate, 1)}
    _write(file, [*kept, line][-_MOST:])


def cpu_name() -> str:
    """The processor's name, as the kernel tells it; else the machine's kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a wheel of another name, such as one for GPUs
        return "of unknown version"


def _lines(file: Path) -> list[dict[str, object]]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise TuningFileUnusable(f"{file} cannot be read: {error}") from error
    try:
        form = json.loads(text) if text.strip() else {_FORMAT_KEY: _FORMAT, "plans": []}
    except (ValueError, RecursionError) as error:
        raise TuningFileUnusable(f"{file} is damaged, or not a file of remembered tunings: {error}; {_NEXT}") from error
    match form:
        case {"reidstream_tuning": 1, "plans": [*lines]} if all(isinstance(line, dict) for line in lines):
            return [line for line in lines if isinstance(line, dict)]
        case _:
            raise TuningFileUnusable(f"{file} is not a file of remembered tunings of this version; {_NEXT}")


def _plan(line: dict[str, object], file: Path) -> RunPlan:
    found = line.get("plan")
    figures = [found.get(key) for key in _PLAN_KEYS] if isinstance(found, dict) else []
    numbers = [figure for figure in figures if type(figure) is int and figure >= 1]
    if len(numbers) != len(_PLAN_KEYS):
        raise TuningFileUnusable(f"{file} is damaged: a plan is {str(found)[:80]}; {_NEXT}")
    threads, slots, batch = numbers
    return RunPlan(threads_per_call=threads, slots=slots, max_batch=batch)


def _write(file: Path, lines: Iterable[dict[str, object]]) -> None:
    text = json.dumps({_FORMAT_KEY: _FORMAT, "plans": list(lines)}, indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False, encoding="utf-8") as new:
            new.write(text)
        made = Path(new.name)
        try:
            made.chmod(0o644)  # a temporary file is its maker's alone
            made.replace(file)
        except OSError:
            made.unlink()
            raise
    except OSError as error:
        raise TuningFileUnusable(f"{file} cannot be written: {error}") from error
