"""What doors hold and do, for the metrics and for the watch of the memory.

Trap: both ask in threads of their own, so the event loop counts; and it may be busy, so they do not wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from reidstream_server.bounds import published_limits, scheduler_limits
from reidstream_server.memory.allocator import give_back_free_memory
from reidstream_server.memory.budget import Part, held_by
from reidstream_server.memory.process import private_bytes
from reidstream_server.memory.rule import WatchRule
from reidstream_server.memory.watch import MemoryWatch, Senses, Together
from reidstream_server.metrics.calls import CallCollector, CallFigures
from reidstream_server.metrics.exposition import TextFormat, page
from reidstream_server.metrics.memory import MemoryCollector
from reidstream_server.metrics.triton import TritonCollector, TritonFigures
from reidstream_server.runtime.from_loop import FromLoop
from reidstream_server.transport.embedding.service import EmbeddingService
from reidstream_server.transport.grpc_server.server import GrpcServer
from reidstream_server.transport.kserve.asked import VERSION
from reidstream_server.transport.operators.scrapes import Form

if TYPE_CHECKING:
    from reidstream_server.transport.http_server.server import HttpServer

from reidstream_server.parts import Parts

_ACCOUNTS_S = 0.2  # that the watch waits for a busy event loop


def memory_watch(
    parts: Parts, door: GrpcServer, http: HttpServer | None, request_streams: Callable[[], int]
) -> MemoryWatch:
    """Keeps what nobody counts within its bound; not started. What it sees is shown by the metrics."""
    bounds = parts.bounds

    def held_now() -> dict[Part, int]:
        return held_by(
            parts.runtime.statistics(),
            bounds,
            calls=parts.entrance.places.taken,
            waiting_calls=door.admission.waiting,
            streams=request_streams(),
            track_bytes=parts.runtime.track_figures().bytes,
        )

    held = FromLoop(asyncio.get_running_loop(), held_now, _ACCOUNTS_S)
    rule = WatchRule(
        base_bytes=bounds.base_bytes,
        bound_bytes=bounds.max_receiving_bytes,
        idle_bytes=parts.budget.bytes_of(Part.SERVING),
    )
    senses = Senses(
        private_bytes=private_bytes,
        counted_bytes=lambda: sum(held().values()),
        give_back=partial(give_back_free_memory, scheduler_limits(parts.config).cores),
    )
    watch = MemoryWatch(
        rule,
        Together([door.receipts] if http is None else [door.receipts, http.crowd]),
        senses,
        bound_bytes=bounds.max_receiving_bytes,
    )
    parts.registry.register(MemoryCollector(parts.budget, held, private_bytes, watch))
    return watch


def show_calls(parts: Parts, embedding: EmbeddingService, door: GrpcServer, http: HttpServer | None) -> None:
    """Have the metrics tell how many calls are open, and how much one client has of them."""
    published = published_limits(parts.config)

    def ended() -> Iterator[tuple[tuple[str, str, str], int]]:
        for name, counts in (("grpc", door.ended.counts), ("http", {} if http is None else http.ended.counts)):
            for (method, status), count in counts.items():
                yield (name, method, status), count

    def figures() -> CallFigures:
        return CallFigures(
            sessions_of_largest=embedding.sessions_of_largest_client,
            sessions_per_client=published.max_sessions_per_client,
            calls=parts.entrance.places.taken,
            max_calls=published.max_calls,
            receiving=parts.entrance.reception.taken,
            ended=dict(ended()),
        )

    parts.registry.register(CallCollector(FromLoop(asyncio.get_running_loop(), figures, _ACCOUNTS_S)))


def show_triton(parts: Parts) -> None:
    """Have the metrics tell what models did under Triton's names."""
    counts = parts.counts
    if counts is None:
        raise AssertionError("a server that shows these counts for them")

    def figures() -> Mapping[str, TritonFigures]:
        return {
            name: TritonFigures(
                success=of.success.count,
                failure=of.fail.count,
                inferences=of.inferences,
                executions=of.executions,
                request_ns=of.success.ns,
                queue_ns=of.queue.ns,
                compute_input_ns=of.compute_input.ns,
                compute_infer_ns=of.compute_infer.ns,
                compute_output_ns=of.compute_output.ns,
            )
            for name, of in counts.by_name().items()
        }

    shown = FromLoop(asyncio.get_running_loop(), figures, _ACCOUNTS_S)
    parts.registry.register(TritonCollector(shown, VERSION))


def form_of(registry: CollectorRegistry, text: TextFormat) -> Form:
    """The page of metrics, for the operators' port."""
    return Form(content_type=text.value, write=partial(page, registry, text))
