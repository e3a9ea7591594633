"""`reidstream-engines`: look at a model file, and try it, without a server; make an INT8 file, or a TensorRT plan.

Why: most problems of a model can be found before it is served: its tensors, the preprocessing it needs, the space of
its vectors, its speed on this machine. Trap: `inspect` must also work for a file without a spec; that is when people
use it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from . import __version__, default_model
from .cores import usable_cores
from .cpu.onnx_engine import OnnxEngine
from .cpu.onnx_loading import load_onnx
from .cpu.options import InferenceRuntime, OnnxOptions, Precision
from .cpu.stager import CpuStager
from .errors import EnginesError, ModelError, PackageMissing, SpecError, UnsupportedProfile
from .onnx_file import read_signature
from .parser import Parser
from .profiles import describe_profiles
from .protocol import EngineInfo
from .quantize import find_crops, need_packages, quantize
from .redaction import without_secrets
from .selftest import self_test
from .spec import ModelSpec
from .spec_source import SPEC_KEY, ModelSignature, resolve_spec
from .tensorrt.commands import COMMANDS, add_commands, inspect_plan, is_plan, run_command
from .tuning import FixedFigures, RunPlan, default_plan, tune

DEFAULT = "default"

_DESCRIPTION = """\
Look at a ReID model in ONNX, and try it, without a server.

A model file says which tensors it takes, but rarely how a crop becomes such a tensor: which resize, which colour
order, which mean and std. This is the model's spec. It comes from a named profile (--profile), from a TOML file beside
the model (model.toml beside model.onnx), or from the file's own metadata. If the space_id of two models differs, their
vectors must never be compared, even if the files have the same name.
"""

_EPILOG = f"""\
profiles:
{describe_profiles()}

examples:
  reidstream-engines inspect default                             the model that is served when none is named
  reidstream-engines inspect osnet.onnx                          what is in the file, and what is missing
  reidstream-engines inspect osnet.onnx --profile torchreid      the whole spec, and the space of its vectors
  reidstream-engines selftest osnet.onnx --profile torchreid     does it work here, and how fast
  reidstream-engines selftest default --runtime openvino --precision bf16
  reidstream-engines tune osnet.onnx --profile torchreid         which threads and batches suit this machine
  reidstream-engines quantize osnet.onnx --profile torchreid --calibration crops/ -o osnet_int8.onnx
  reidstream-engines build osnet.onnx --profile torchreid --precision fp16 --max-batch 64
  reidstream-engines adopt osnet.engine --profile torchreid --model osnet.onnx

exit codes: 0 success, 1 the model cannot be read, does not fit its profile or failed, 2 wrong usage, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command in COMMANDS:
            run_command(arguments)
        else:
            _run(arguments)
    except EnginesError as error:
        print(f"reidstream-engines: {without_secrets(str(error))}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    path = default_model.PATH if arguments.model == DEFAULT else Path(arguments.model)
    name = default_model.NAME if arguments.model == DEFAULT else None
    if arguments.command == "quantize":
        _quantize(path, arguments.profile, Path(arguments.calibration), Path(arguments.output))
        return
    runtime, precision = InferenceRuntime(arguments.runtime), Precision(arguments.precision)
    if arguments.command == "inspect":
        if is_plan(path):
            inspect_plan(path)
        else:
            _inspect(path, name, arguments.profile, OnnxOptions(runtime=runtime, precision=precision))
    elif arguments.command == "tune":
        _tune(path, name, arguments.profile, arguments.seconds, OnnxOptions(runtime=runtime, precision=precision))
    else:
        options = OnnxOptions(
            runtime=runtime,
            precision=precision,
            max_batch=arguments.max_batch,
            threads_per_call=arguments.threads,
        )
        _selftest(path, name, arguments.profile, options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="reidstream-engines",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspect = commands.add_parser(
        "inspect",
        help="print a model's tensors, metadata, spec and space_id",
        description="Print a model's tensors, metadata, spec and space_id. Without a spec: what is missing. "
        "For a TensorRT plan: its manifest, and its layers and memory if this machine has a GPU.",
    )
    selftest = commands.add_parser(
        "selftest",
        help="run a model in every batch size, check it and time it",
        description="Run a model on noise in every batch size. Fails (exit code 1) if a crop's vector depends on the "
        "other crops of its batch, is not finite, or does not have length 1. Prints the time per crop, with its "
        "preprocessing.",
    )
    selftest.add_argument("--max-batch", type=int, default=8, metavar="N", help="largest batch (default: 8)")
    selftest.add_argument("--threads", type=int, default=1, metavar="N", help="threads per batch (default: 1)")
    tuned = commands.add_parser(
        "tune",
        help="measure which threads and batches suit this machine",
        description="Measure crops/s with different threads per call, calls at a time and crops per call, and print "
        "what the server would choose when it starts.",
    )
    tuned.add_argument("--seconds", type=float, default=5.0, metavar="S", help="about how long to measure (default: 5)")
    for command in (inspect, selftest, tuned):
        command.add_argument(
            "--runtime", choices=[item.value for item in InferenceRuntime], default=InferenceRuntime.ONNXRUNTIME.value
        )
        command.add_argument(
            "--precision",
            choices=[item.value for item in Precision],
            default=Precision.FP32.value,
            help="precision of the float layers (default: fp32); bf16 needs --runtime openvino",
        )
    int8 = commands.add_parser(
        "quantize",
        help="make an INT8 file from a model, calibrated with crops",
        description="Make an INT8 file from a model, statically quantised. Calibrate it with crops like those that "
        "will be embedded. Its vectors are in a space of their own. A fifth of the crops is held out; on these crops "
        "the vectors of both networks are compared.",
    )
    int8.add_argument(
        "--calibration", required=True, metavar="FOLDER", help="folder of crops (pictures), with its subfolders"
    )
    int8.add_argument("-o", "--output", required=True, metavar="OUT.onnx", help="the file to write")
    for command in (inspect, selftest, tuned, int8):
        command.add_argument("model", metavar="MODEL", help=f"an ONNX file, or the word '{DEFAULT}'")
        command.add_argument("--profile", metavar="NAME", help="the preprocessing; see reidstream-engines --help")
    add_commands(commands)
    return parser


def _inspect(path: Path, name: str | None, profile: str | None, options: OnnxOptions) -> None:
    signature = read_signature(path)
    _print_file(path, signature)
    try:
        spec = resolve_spec(path=path, signature=signature, name=name, profile=profile)
    except SpecError as error:
        if profile is not None or SPEC_KEY in signature.metadata or path.with_suffix(".toml").is_file():
            raise  # there is a spec, and it is wrong
        print(f"spec         none: {error}")
        return
    _print_fields(_spec_fields(spec))
    try:
        engine = load_onnx(path, name=name, profile=profile, options=options)
    except (ModelError, PackageMissing, UnsupportedProfile) as error:
        print(f"here         cannot be served: {error}")
    else:
        print("here         can be served")
        print(f"engine       {_engine_text(engine.info)}")
        engine.close()


def _selftest(path: Path, name: str | None, profile: str | None, options: OnnxOptions) -> None:
    engine = load_onnx(path, name=name, profile=profile, options=options)
    print(f"{engine.spec.name}: {_engine_text(engine.info)}, {options.threads_per_call} thread(s)")
    report = self_test(engine, CpuStager())
    engine.close()
    print(f"{'batch':>6} {'ms':>9} {'ms/crop':>9} {'crops/s':>9}")
    for timing in report.timings:
        per_crop = timing.seconds / timing.size
        print(f"{timing.size:>6} {timing.seconds * 1e3:>9.2f} {per_crop * 1e3:>9.3f} {1 / per_crop:>9.0f}")
    print(f"passed: a vector changes by at most {report.max_difference:.1e} of its length with its batch")


def _tune(path: Path, name: str | None, profile: str | None, seconds: float, options: OnnxOptions) -> None:
    def open_engine(plan: RunPlan) -> OnnxEngine:
        return load_onnx(path, name=name, profile=profile, options=replace(options, **asdict(plan)))

    open_engine(
        default_plan(FixedFigures(), usable_cores())
    ).close()  # a fault of the model itself is raised here, not by each plan
    tuning = tune(open_engine, CpuStager(), fixed=FixedFigures(), cores=usable_cores(), seconds=seconds)
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


def _quantize(path: Path, profile: str | None, folder: Path, target: Path) -> None:
    need_packages()
    from tqdm import tqdm  # noqa: PLC0415 - optional

    crops = find_crops(folder)
    with tqdm(total=len(crops), unit="crop", desc="quantizing", disable=None) as bar:
        made = quantize(path, target, profile=profile, crops=crops, tick=bar.update)
    print(f"{target}: {made.layers} layers in int8, calibrated with {made.calibrated_with} crops")
    print(f"space_id     {made.spec.space_id}")
    cosines = sorted(made.cosines)
    print(
        f"cosine       to the original on {len(cosines)} other crops: mean {sum(cosines) / len(cosines):.4f}, "
        f"5th percentile {cosines[len(cosines) // 20]:.4f}, least {cosines[0]:.4f}"
    )


def _engine_text(info: EngineInfo) -> str:
    text = f"{info.engine} on {info.device}, {info.precision}"
    return f"{text} (fallback: {info.fallback_reason})" if info.fallback_reason else text


def _print_file(path: Path, signature: ModelSignature) -> None:
    _print_fields({"file": str(path), "bytes": f"{path.stat().st_size:,}"})
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            _print_fields({kind: str(tensor)})
    for key, value in sorted(signature.metadata.items()):
        _print_fields({"metadata": f"{key} = {value}"})
    if not signature.metadata:
        _print_fields({"metadata": "none"})


def _spec_fields(spec: ModelSpec) -> Mapping[str, str]:
    source = spec.input
    return {
        "name": f"{spec.name}, version {spec.version}",
        "profile": spec.profile,
        "size": f"{source.width} x {source.height} (width x height)",
        "color": source.color_order.value,
        "resize": f"{source.resize.value}, {source.fit.value}",
        "crop": source.crop_rule.value,
        "scale": f"{source.scale:.9g}",
        "mean": ", ".join(f"{value:g}" for value in source.mean),
        "std": ", ".join(f"{value:g}" for value in source.std),
        "vector": f"{spec.output.dim} numbers{', length 1' if spec.output.l2_normalize else ''}",
        "artifact": spec.artifact_sha256,
        "space_id": spec.space_id,
    }


def _print_fields(fields: Mapping[str, str]) -> None:
    for key, value in fields.items():
        print(f"{key:<12} {value}")
