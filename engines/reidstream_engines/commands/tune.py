"""`tune`: measures how a model runs best on this machine, as the server does when it starts, only for longer.

Why beside the server: an operator can measure while nothing else runs, and let every start use the result
(--tuning-file). Trap: the result is only good for the machine and the cores that it was measured with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from reidstream_engines.cores import Cores
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import EngineFault
from reidstream_engines.onnx_facts import read_facts
from reidstream_engines.selftest import self_test
from reidstream_engines.tuning import FixedFigures, RunPlan, Tuning, default_plan, tune
from reidstream_engines.tuning_file import remember, tuned_for

from .common import Meant, say_what_is_set_aside

_BAR = 1000  # steps of the progress bar


def tune_model(model: Meant, options: OnnxOptions, *, cores: Cores, seconds: float, file: Path | None) -> None:
    """Measure, print every plan, and the server's flags for the best. `file`: where the result is remembered.

    Raises EnginesError: the model cannot be loaded, no plan works, or the file cannot be used.
    """
    fixed, fixed_batch = FixedFigures(), read_facts(model.path).fixed_batch

    def open_engine(plan: RunPlan) -> OnnxEngine:
        return model.load(replace(options, **asdict(plan)))

    first = open_engine(default_plan(fixed, cores.count, fixed_batch))  # here a fault of the model itself is raised
    say_what_is_set_aside(first.spec)
    first.close()
    stager = CpuStager()
    with _bar() as progress:
        tuning = tune(
            open_engine,
            stager,
            fixed=fixed,
            cores=cores.count,
            seconds=seconds,
            fixed_batch=fixed_batch,
            progress=progress,
        )
    if tuning.left_out and not tuning.crops_per_s:
        self_test(open_engine(tuning.plan), stager)  # says what is wrong, and which batch works
        raise EngineFault(f"no plan could be measured: {next(iter(tuning.left_out.values()))}")
    _print(tuning, cores)
    if file is not None and tuning.crops_per_s:
        library, precision = options.runtime.value, options.precision.value
        key = tuned_for(model.path, cores=cores.count, package=library, precision=precision, fixed=fixed)
        remember(file, key, tuning)
        print(f"reidstream-server --tuning-file {file}")


def _print(tuning: Tuning, cores: Cores) -> None:
    print(f"cores: {cores.count} ({cores.why})")
    print(f"{'threads':>8} {'slots':>6} {'batch':>6} {'crops/s':>9}")
    for plan, found in (dict(tuning.crops_per_s) | dict(tuning.left_out)).items():
        text = f"{found:>9.0f}" if isinstance(found, float) else f"  {found}"
        mark = "  chosen" if plan == tuning.plan else ""
        print(f"{plan.threads_per_call:>8} {plan.slots:>6} {plan.max_batch:>6} {text}{mark}")
    chosen = tuning.plan
    print(
        f"reidstream-server --threads-per-call {chosen.threads_per_call} --slots {chosen.slots} "
        f"--max-batch {chosen.max_batch}"
    )


@contextmanager
def _bar() -> Iterator[Callable[[float], object]]:
    """A progress bar on a terminal; nothing where there is none, or no package for it."""
    try:
        from tqdm import tqdm  # noqa: PLC0415 - optional
    except ImportError:
        yield lambda _: None
        return
    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed}"
    with tqdm(total=_BAR, desc="measuring", disable=None, leave=False, bar_format=layout) as bar:
        yield lambda fraction: bar.update(int(fraction * _BAR) - bar.n)
