"""The server with an engine on a GPU whose network may be a stand-in for TensorRT.

`python -m bench.gpu.serve --network FILE --plans FOLDER`, with the server's own flags. Why not the server itself:
without TensorRT it would serve on the CPU. Everything except the network is the product's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import closing
from pathlib import Path

from reidstream_engines.cuda.compile import crop_cubin
from reidstream_engines.cuda.decoders import CpuFrameDecoder
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.probe import probe
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.turbojpeg import find_turbojpeg
from reidstream_engines.spec import Resize
from reidstream_server.app import serve
from reidstream_server.bounds import scheduler_limits
from reidstream_server.config import load_config
from reidstream_server.loading import Engines
from reidstream_server.logs import configure
from reidstream_server.memory.allocator import keep_freed_memory
from reidstream_server.stopping import stoppable

from .launch import MAX_BATCH, Machine
from .speed import SLOTS
from .stand_in import networks_of


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--plans", type=Path, required=True, help="folder in which TensorRT's plans are kept")
    parser.add_argument("--cuda-device", type=int, default=0)
    own, flags = parser.parse_known_args()
    config = load_config(flags, os.environ)
    configure(config.log.log_level, config.log.log_format)
    keep_freed_memory(scheduler_limits(config).cores)
    probed = probe()
    device = probed.device(own.cuda_device)

    def compiled(resize: Resize, output: OutputType) -> bytes:
        return crop_cubin(resize, output, architecture=device.architecture, cache=None).image

    decoder = CpuFrameDecoder(JpegDecoder(find_turbojpeg()))
    with Context(probed.api, device.index) as context:
        machine = Machine(context=context, device=device, crop_kernel=compiled)
        made = networks_of(machine, own.network, OutputType.FP16, max_batch=MAX_BATCH, slots=SLOTS, cache=own.plans)
        with closing(CudaStager(context, decoder, max_bytes=4 << 30)) as stager:
            engine = made.engine(machine)
            with stoppable() as stop:
                return asyncio.run(serve(config, Engines(engines=(engine,), stager=stager), stop)).code


if __name__ == "__main__":
    sys.exit(main())
