"""`reidstream-engines`: look at a model file, and try it, without a server; make an INT8 file, or a TensorRT plan.

Why: most problems of a model can be found before it is served: its tensors, the preprocessing it needs, the space of
its vectors, its speed on this machine. Here are the arguments; `commands/` does the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import __version__
from .commands.common import DEFAULT, meant
from .commands.look import inspect, selftest
from .commands.tune import tune_model
from .commands.write import quantize_model, write_spec
from .cores import find_cores
from .cpu.options import InferenceRuntime, OnnxOptions, Precision
from .errors import EnginesError
from .parser import Parser
from .profiles import describe_profiles
from .redaction import without_secrets
from .tensorrt.commands import COMMANDS, add_commands, inspect_plan, is_plan, run_command

_MOST_CORES = 1024

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
  reidstream-engines spec osnet.onnx --profile torchreid > osnet.toml    the preprocessing, to be changed
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
    model = meant(arguments.model, arguments.profile)
    if arguments.command == "quantize":
        quantize_model(model, Path(arguments.calibration), Path(arguments.output))
        return
    if arguments.command == "spec":
        write_spec(model)
        return
    if arguments.command == "inspect" and is_plan(model.path):
        inspect_plan(model.path)
        return
    cores = find_cores(arguments.cores)
    options = OnnxOptions(
        runtime=InferenceRuntime(arguments.runtime), precision=Precision(arguments.precision), slots=cores.count
    )
    if arguments.command == "inspect":
        inspect(model, options)
    elif arguments.command == "tune":
        tune_model(model, options, cores=cores, seconds=arguments.seconds, file=arguments.tuning_file)
    else:
        selftest(model, replace(options, max_batch=arguments.max_batch, threads_per_call=arguments.threads))


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
    tuned.add_argument("--seconds", type=float, default=5.0, metavar="S", help="most time to measure (default: 5)")
    tuned.add_argument(
        "--tuning-file", type=Path, metavar="FILE", help="remember the result there, for the server's --tuning-file"
    )
    for command in (inspect, selftest, tuned):
        command.add_argument(
            "--cores",
            type=_cores,
            default=0,
            metavar="N",
            help="cores to work with (default: those that this process may use, by its CPU quota too)",
        )
        command.add_argument(
            "--runtime", choices=[item.value for item in InferenceRuntime], default=InferenceRuntime.ONNXRUNTIME.value
        )
        command.add_argument(
            "--precision",
            choices=[item.value for item in Precision],
            default=Precision.FP32.value,
            help="precision of the float layers (default: fp32); bf16 needs --runtime openvino",
        )
    spec = commands.add_parser(
        "spec",
        help="write a model's preprocessing as TOML",
        description="Print the TOML file that may lie beside a model, complete: the preprocessing of a profile, or "
        "what is beside the file or in it. Change mean and std there if yours are others (docs/models.md).",
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
    for command in (inspect, selftest, tuned, spec, int8):
        command.add_argument("model", metavar="MODEL", help=f"an ONNX file, or the word '{DEFAULT}'")
        command.add_argument("--profile", metavar="NAME", help="the preprocessing; see reidstream-engines --help")
    add_commands(commands)
    return parser


def _cores(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= _MOST_CORES:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 to {_MOST_CORES}")
    return number
