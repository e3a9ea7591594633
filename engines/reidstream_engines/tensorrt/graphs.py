"""Runs a network's batches as CUDA graphs: one launch instead of a hundred.

Why several sizes: a graph has one batch size. A batch runs at the next size that has a graph; the rows after it are
computed from old data, and nobody reads them. Traps: in its first run of a size a network lays out memory and chooses
kernels, which cannot be captured, so each size is run once before. And a size that cannot be captured at all is
enqueued kernel by kernel, and reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from typing_extensions import override

from reidstream_engines.cuda.driver import Context, Graph, Stream
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.errors import EngineFault

from .network import DeviceNetwork


class GraphedNetwork(DeviceNetwork):
    """`network`, which it owns, with a graph for each of `sizes`; the largest size is its `max_batch`.

    Making one raises what `network.enqueue` raises.
    """

    def __init__(self, network: DeviceNetwork, context: Context, sizes: Sequence[int]) -> None:
        self._network = network
        self._sizes = tuple(sorted(sizes))
        self._graphs: dict[int, Graph] = {}
        self._not_captured: dict[int, str] = {}
        try:
            self._prepare(context)
        except BaseException:
            self.close()
            raise

    @property
    def not_captured(self) -> Mapping[int, str]:
        """The sizes that are enqueued kernel by kernel, and why."""
        return self._not_captured

    @property
    @override
    def max_batch(self) -> int:
        return self._sizes[-1]

    @property
    @override
    def input_address(self) -> int:
        return self._network.input_address

    @property
    @override
    def input_type(self) -> OutputType:
        return self._network.input_type

    @property
    @override
    def output_address(self) -> int:
        return self._network.output_address

    @property
    @override
    def output_dtype(self) -> np.dtype[np.generic]:
        return self._network.output_dtype

    @override
    def enqueue(self, stream: Stream, count: int) -> None:
        size = next((size for size in self._sizes if size >= count), None)
        if size is None:
            raise EngineFault(f"the network takes up to {self.max_batch} crops, not {count}")
        graph = self._graphs.get(size)
        if graph is None:
            self._network.enqueue(stream, size)
        else:
            graph.launch(stream)

    @override
    def close(self) -> None:
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
        self._network.close()

    def _prepare(self, context: Context) -> None:
        stream = Stream(context)
        try:
            for size in self._sizes:
                self._network.enqueue(stream, size)
                stream.synchronize()
                self._capture(stream, size)
            stream.synchronize()
        finally:
            stream.close()

    def _capture(self, stream: Stream, size: int) -> None:
        try:
            self._graphs[size] = Graph(stream, partial(self._network.enqueue, stream, size))
        except EngineFault as error:
            self._not_captured[size] = str(error)
