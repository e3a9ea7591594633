"""`reidstream-engines build`, `adopt`, and `inspect` of a plan.

Why ahead of time: a build takes minutes, and a server should find its plan when it starts. Trap: a plan fits only the
GPU and the TensorRT of this machine. So run these commands on the machine that serves, with the server's cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from reidstream_engines import default_model
from reidstream_engines.cuda.probe import probe
from reidstream_engines.errors import DeviceUnavailable, PackageMissing, PlanError
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.parser import Parser
from reidstream_engines.spec_source import resolve_spec

from .adopt import adopt_plan, refuse_other_kinds
from .api import Flavour
from .cache import PLAN, Plan, PlanCache, is_plan_folder, read_manifest
from .examine import Examined, examine
from .manifest import PlanManifest, PlanPrecision, TensorInfo
from .opened_gpu import PLANS, GpuOptions, default_cache
from .plans import plan_for
from .progress import Progress

SUFFIXES = (".engine", ".plan", ".trt")
COMMANDS = ("build", "adopt")

_BAR = 1000  # steps of the progress bar
_SERVED = GpuOptions()  # the server's defaults: it does not find a plan that was built with other values


def add_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    """Register `build` and `adopt`."""
    build = commands.add_parser(
        "build",
        help="build a model's TensorRT plan before it is served",
        description="Build a TensorRT plan of a model for this machine's GPU, and keep it where the server finds it. "
        "--flavour tensorrt_rtx needs no GPU, but --architecture.",
    )
    build.add_argument("model", metavar="MODEL", help="an ONNX file, or the word 'default'")
    build.add_argument(
        "--precision",
        choices=[PlanPrecision.FP32.value, PlanPrecision.FP16.value],
        default=_SERVED.precision.value,
        help="the server's --gpu-precision (default: %(default)s)",
    )
    build.add_argument(
        "--max-batch",
        type=int,
        default=_SERVED.max_batch,
        metavar="N",
        help="the server's --max-batch (default: %(default)s)",
    )
    build.add_argument(
        "--architecture",
        metavar="sm_NN",
        help="the GPU to build for (tensorrt_rtx only; default: this machine's)",
    )
    adopt = commands.add_parser(
        "adopt",
        help="take a plan that trtexec built into the cache",
        description="Examine a TensorRT plan in a separate process, and keep a copy with a manifest.",
    )
    adopt.add_argument("plan", metavar="PLAN", help="a serialised engine: trtexec --saveEngine=PLAN")
    adopt.add_argument(
        "--model",
        metavar="ONNX",
        help="the ONNX file that it was built from; its vectors are then in that model's space",
    )
    adopt.add_argument("--name", metavar="NAME", help="the model's name (default: the plan's file name)")
    for command in (build, adopt):
        command.add_argument("--profile", metavar="NAME", help="the preprocessing; see reidstream-engines --help")
        command.add_argument(
            "--cache",
            type=Path,
            default=default_cache(),
            metavar="DIR",
            help="the server's --gpu-cache (default: %(default)s)",
        )
        command.add_argument("--flavour", choices=[item.value for item in Flavour], default=Flavour.TENSORRT.value)


def run_command(arguments: argparse.Namespace) -> None:
    """Run `build` or `adopt`. Raises EnginesError."""
    cache, flavour = PlanCache(root=arguments.cache / PLANS), Flavour(arguments.flavour)
    if arguments.command == "adopt":
        adopted = adopt_plan(
            Path(arguments.plan),
            profile=arguments.profile,
            architecture=probe().device(0).architecture,
            cache=cache,
            model=Path(arguments.model) if arguments.model else None,
            name=arguments.name,
            flavour=flavour,
        )
        print(f"adopted      {adopted.plan.folder}")
        _print_manifest(adopted.plan.manifest)
        print(f"space_id     {adopted.spec.space_id}")
        return
    plan = _build(arguments, cache, flavour)
    print(f"plan         {plan.folder}")
    _print_manifest(plan.manifest)


def is_plan(path: Path) -> bool:
    """Whether a path is a plan: a file with such a suffix, or a plan's folder in the cache."""
    return path.suffix in SUFFIXES or is_plan_folder(path)


def inspect_plan(path: Path, flavour: Flavour = Flavour.TENSORRT) -> None:
    """Print a plan's manifest and, if this machine has a GPU, what TensorRT says about the plan.

    Raises PlanError if neither can be printed.
    """
    folder = path if path.is_dir() else path.parent
    known = is_plan_folder(folder)
    file = folder / PLAN if path.is_dir() else path
    if not file.is_file():
        raise PlanError(f"{file}: no such file")
    refuse_other_kinds(file)
    print(f"plan         {file}")
    print(f"bytes        {file.stat().st_size:,}")
    if known:
        manifest = read_manifest(folder)
        flavour = manifest.key.flavour
        _print_manifest(manifest)
    try:
        probe()
        examined = examine(file, flavour)
    except DeviceUnavailable as error:
        if not known:
            raise PlanError(f"{file} has no manifest beside it, and its content cannot be read: {error}") from error
        print(f"layers       not known: {error}")
        return
    _print_examined(examined)


def _build(arguments: argparse.Namespace, cache: PlanCache, flavour: Flavour) -> Plan:
    default = arguments.model == "default"
    path = default_model.PATH if default else Path(arguments.model)
    if arguments.architecture and flavour is Flavour.TENSORRT:
        raise PlanError("tensorrt builds only for this machine's GPU: leave --architecture out")
    spec = resolve_spec(
        path=path,
        signature=read_signature(path),
        name=default_model.NAME if default else None,
        profile=arguments.profile,
    )
    if spec.set_aside:
        print(f"note: {spec.set_aside}", file=sys.stderr)
    architecture = arguments.architecture or probe().device(0).architecture
    progress, close = _bar()
    try:
        return plan_for(
            path,
            spec,
            architecture=architecture,
            precision=PlanPrecision(arguments.precision),
            max_batch=arguments.max_batch,
            cache=cache,
            progress=progress,
            flavour=flavour,
        )
    finally:
        close()


def _bar() -> tuple[Progress, Callable[[], None]]:
    try:
        from tqdm import tqdm  # noqa: PLC0415 - optional
    except ImportError:
        raise PackageMissing(
            "the progress bar needs the package tqdm, which is not installed; install it: "
            "pip install 'reidstream-engines[gpu]'"
        ) from None
    bar = tqdm(total=_BAR, desc="building", disable=None, bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}")

    def show(fraction: float, phase: str) -> None:
        bar.set_description_str(phase or "building", refresh=False)
        bar.update(int(fraction * _BAR) - bar.n)

    return show, bar.close


def _print_manifest(manifest: PlanManifest) -> None:
    key = manifest.key
    batch = f"{manifest.static_batch} only" if manifest.static_batch else f"1 to {manifest.max_batch}"
    print(f"model        {manifest.model}, {manifest.artifact_sha256}")
    print(f"origin       {manifest.origin.value}")
    print(f"made for     {key.architecture}, {key.flavour.value} {key.tensorrt_version}")
    print(f"precision    {key.precision.value}")
    print(f"batch        {batch}")
    print(f"input        {_tensor(manifest.input)}")
    print(f"output       {_tensor(manifest.output)}")


def _print_examined(found: Examined) -> None:
    print(f"tensorrt     {found.tensorrt_version}")
    print(f"takes        {found.least_batch} to {found.most_batch} crops")
    for kind, tensors in (("input", found.inputs), ("output", found.outputs)):
        for tensor in tensors:
            print(f"{kind:<12} {_tensor(tensor)}")
    print(f"memory       {found.memory_bytes:,} bytes on the device for each context")
    for line in found.layers:
        print(f"layer        {line}")


def _tensor(found: TensorInfo) -> str:
    axes = ", ".join("?" if axis < 0 else str(axis) for axis in found.shape)
    return f"{found.name} {found.dtype.value} [{axes}]"
