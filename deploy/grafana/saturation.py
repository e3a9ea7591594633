"""Saturation: what is full, and which bound keeps work out. It says how many servers are missing, not who suffers."""

from __future__ import annotations

from deploy.prometheus.alerts import MAX_DESCRIPTORS, MAX_MEMORY

from .page import Page, Placed, Section
from .panels import LIMIT, Query, Steps, bars, heat, lines, number
from .promql import of, rate, share, total, worst

_AIM, _FULL = 0.5, 0.8


def saturation() -> Page:
    """The second dashboard."""
    return Page(
        name="saturation",
        title="reidstream / 2 Saturation",
        description="What is full, and which bound keeps work out? For scaling, and for finding what to raise.",
        sections=(_now(), _waiting(), _cores(), _batches(), _memory(), _gpus()),
    )


def _now() -> Section:
    busiest = number(
        "How busy is the busiest part?",
        "Of cores, event loop and engine, the one that is used most, of the busiest server. 0.5 is a good aim: then "
        "twice as many frames still find room. This is the number to scale on (docs/metrics.md). Frames whose "
        "decoding gives way to others are not included.",
        "percentunit",
        Query(worst(_parts()), "busiest"),
        steps=Steps(orange=_AIM, red=_FULL),
    )
    full = bars(
        "Which bound is nearest to full?",
        "What is held of each bound, of the server that holds most of it. A bound that is full while cores are free is "
        "too small for these cameras: raise it, within the machine's memory. Full with full cores: more servers.",
        "percentunit",
        *(
            Query(worst(share(of(f"reidstream_{held}"), of(f"reidstream_{bound}"))), name)
            for held, bound, name in (
                ("queue_boxes", "queue_boxes_limit", "boxes in the queue"),
                ("queue_bytes", "queue_bytes_limit", "bytes in the queue"),
                ("parked_bytes", "parked_bytes_limit", "parked bytes"),
                ("staged_bytes", "staged_bytes_limit", "decoded frames"),
                ("held_answer_bytes", "held_answer_bytes_limit", "answers"),
                ("sessions", "sessions_limit", "sessions"),
                ("calls", "calls_limit", "calls"),
                ("private_memory_bytes", "private_memory_limit_bytes", "memory"),
            )
        ),
        Query(worst(share(of("process_open_fds"), of("process_max_fds"))), "file descriptors"),
        steps=Steps(orange=0.6, red=MAX_DESCRIPTORS),
        most=1,
    )
    refusals = lines(
        "Which bound refuses work?",
        "Frames and calls a second that found no room, by the bound that had none. A refusal is no loss: the frame "
        "waits, takes an older one's place, or gets an error, as its session asks. A frame counts once, and once "
        "more under `parked` or `staged`. What a session's own window keeps out is not included. docs/metrics.md "
        "names each setting.",
        "suffix: refusals/s",
        Query(total(rate("reidstream_admission_refusals_total"), "bound"), "{{bound}}"),
        stacked=True,
    )
    return Section("Now", 9, [Placed(busiest, 4), Placed(full, 8), Placed(refusals, 12)])


def _waiting() -> Section:
    oldest = lines(
        "How long has the oldest frame waited?",
        "The oldest queued frame of each server. Parked frames are not included. It rises steadily: more work than "
        "that server can do. It jumps: one batch or one picture that takes long.",
        "s",
        Query(worst(of("reidstream_oldest_waiting_seconds"), "instance"), "{{instance}}"),
        steps=Steps(red=1),
    )
    places = lines(
        "Where are the frames?",
        "Frames of all chosen servers by where they are now. `parked`: no room in the queue, and their streams are not "
        "read. `queued`: wait to be decoded. `aside`: heavy ones, which give way. `lost`: decoders that were given up "
        "and are still at work; above 0 for long, somebody sends pictures that hang.",
        "short",
        *(
            Query(total(of(f"reidstream_{name}")), legend)
            for name, legend in (
                ("parked_frames", "parked"),
                ("queued_frames", "queued"),
                ("staging_frames", "decoding"),
                ("aside_frames", "aside"),
                ("lost_decoders", "lost"),
            )
        ),
        Query(total(of("reidstream_ready_crops")), "ready crops"),
    )
    boxes = lines(
        "How many boxes wait for vectors?",
        "Boxes admitted and not yet answered, for each server; the dashed line is the lowest --max-queue-boxes of "
        "them. At the limit, frames are parked, dropped or refused.",
        "short",
        Query(worst(of("reidstream_queue_boxes"), "instance"), "{{instance}}"),
        Query(f"min({of('reidstream_queue_boxes_limit')})", LIMIT),
    )
    return Section("What waits", 9, [Placed(panel, 8) for panel in (oldest, places, boxes)])


def _cores() -> Section:
    parts = lines(
        "Which part is busiest?",
        "How much of cores, event loop and engine is used, of 1, in the server that uses most of each. Cores at 1: "
        "more servers. Event loop at 1 with free cores: more servers as well, it is one thread. Engine at 1 with "
        "free cores: --slots, or the GPU is the limit.",
        "percentunit",
        Query(worst(_parts(), "part"), "{{part}}"),
        steps=Steps(red=_FULL),
        most=1,
    )
    work = lines(
        "What do the cores do?",
        "Cores taken by decoding (`staging`), by networks (`inference`), and by heavy frames that give way to both "
        "(`aside`), of all chosen servers; the dashed line is how many there are. A batch on a GPU takes none. "
        "The event loop is not included.",
        "suffix: cores",
        Query(total(rate("reidstream_core_busy_seconds_total"), "work"), "{{work}}"),
        Query(total(of("reidstream_cores")), LIMIT),
        stacked=True,
    )
    servers = lines(
        "Is the work spread over the servers?",
        "The busiest part of each server. Streams are long, so a new server gets none until some end: set "
        "--max-connection-age-s. Alone at the top: many cameras there, or heavy ones.",
        "percentunit",
        Query(worst(_parts(), "instance"), "{{instance}}"),
        steps=Steps(red=_FULL),
        most=1,
    )
    return Section("Cores and event loop", 9, [Placed(panel, 8) for panel in (parts, work, servers)])


def _batches() -> Section:
    engine = lines(
        "How busy is each engine?",
        "Time in the engine, of what its slots allow, for each model, in the busiest server. Failed batches are "
        "included, the wait for a thread is not. A batch counts when it ends.",
        "percentunit",
        Query(
            worst(
                f"{rate('reidstream_engine_busy_seconds_total')}"
                f" / on (job, instance, model) {of('reidstream_running_batches_limit')}",
                "model",
            ),
            "{{model}}",
        ),
        most=1,
    )
    fill = lines(
        "How full are the batches?",
        "Mean crops in a batch, of the most that it may hold, for each model. Far below 1 under load: --linger-ms "
        "would fill them, at the cost of that much time. Low with little load is as it should be.",
        "percentunit",
        Query(
            f"sum by (model) ({rate('reidstream_batch_size_sum')}) / sum by (model) "
            f"({rate('reidstream_batch_size_count')} * on (job, instance, model) {of('reidstream_batch_size_limit')})",
            "{{model}}",
        ),
        most=1,
    )
    sizes = heat(
        "How large are the batches?",
        "Batches a second by their size, of all models. Crops that are tried again one by one count again.",
        "short",
        Query(f"sum by (le) ({rate('reidstream_batch_size_bucket')})", "{{le}}"),
    )
    running = lines(
        "Do batches wait for a slot?",
        "Crops that wait for a slot, and batches in flight, of all chosen servers; the dashed line is the most "
        "batches. Crops wait while fewer batches run than may: cores are the limit, not slots.",
        "short",
        Query(total(of("reidstream_ready_crops"), "model"), "{{model}}: crops that wait"),
        Query(total(of("reidstream_running_batches"), "model"), "{{model}}: batches in flight"),
        Query(total(of("reidstream_running_batches_limit")), LIMIT),
    )
    return Section("Engines and batches", 9, [Placed(panel, 6) for panel in (engine, fill, sizes, running)])


def _memory() -> Section:
    private = lines(
        "How near is memory to its limit?",
        "Private memory of each server, of its whole budget. Files and what clients share are not included. Above "
        f"{MAX_MEMORY:.0%}: lower the bounds that docs/operation.md (Memory) names first, before the container is "
        "killed.",
        "percentunit",
        Query(
            worst(
                share(of("reidstream_private_memory_bytes"), of("reidstream_private_memory_limit_bytes")), "instance"
            ),
            "{{instance}}",
        ),
        steps=Steps(red=MAX_MEMORY),
        most=1,
        alert="ReidstreamMemoryHigh",
    )
    parts = lines(
        "What holds the memory?",
        "Private memory by the lines of the budget, of all chosen servers. `uncounted`: messages that have not come "
        "whole, and memory that is free and not given back yet; near --max-receiving-bytes, connections are ended.",
        "bytes",
        Query(total(of("reidstream_memory_bytes"), "part"), "{{part}}"),
        Query(total(of("reidstream_private_memory_limit_bytes")), LIMIT),
        stacked=True,
    )
    budget = lines(
        "What may each part hold?",
        "The most of each line of the budget, of all chosen servers. It changes with settings only.",
        "bytes",
        Query(total(of("reidstream_memory_limit_bytes"), "part"), "{{part}}"),
        stacked=True,
    )
    descriptors = lines(
        "Are there file descriptors left?",
        "Open descriptors of each server, of the most that the system gives it. Each connection takes one. "
        "At 1 nobody can connect: raise the limit of the unit or of the container (nofile).",
        "percentunit",
        Query(worst(share(of("process_open_fds"), of("process_max_fds")), "instance"), "{{instance}}"),
        steps=Steps(red=MAX_DESCRIPTORS),
        most=1,
        alert="ReidstreamDescriptorsHigh",
    )
    return Section("Memory and descriptors", 9, [Placed(panel, 6) for panel in (private, parts, budget, descriptors)])


def _gpus() -> Section:
    frames = lines(
        "How much GPU memory do frames take?",
        "Memory of frames on each GPU and pinned memory of the machine, in use and idle for the next; the networks' is "
        "not counted. Only servers with GPUs have it. At the limit of --max-staged-bytes frames wait.",
        "bytes",
        Query(
            total(of("reidstream_device_frame_bytes"), "device", "memory", "state"), "{{device}} {{memory}} {{state}}"
        ),
        Query(total(of("reidstream_device_frame_bytes_limit", 'memory="device"')), LIMIT),
        stacked=True,
    )
    decodes = lines(
        "Does the GPU decode the pictures?",
        "JPEGs a second that were given to the GPU's decoder: `decoded` by it, or `declined` and decoded by the CPU. "
        "Many declined: the GPU is the wrong decoder for these cameras. Only with --gpu-decode.",
        "suffix: JPEGs/s",
        Query(total(rate("reidstream_device_decodes_total"), "device", "outcome"), "{{device}} {{outcome}}"),
        stacked=True,
    )
    return Section("GPUs", 8, [Placed(panel, 12) for panel in (frames, decodes)])


def _parts() -> str:
    """How much of each part of each server is used, with a label `part`."""
    cores = f"sum by (job, instance) ({rate('reidstream_core_busy_seconds_total', _NOT_ASIDE)})"
    used = {
        "cores": f"{cores} / on (job, instance) {of('reidstream_cores')}",
        "event loop": rate("reidstream_event_loop_cpu_seconds_total"),
        "engine": f"{rate('reidstream_engine_busy_seconds_total')}"
        f" / on (job, instance, model) {of('reidstream_running_batches_limit')}",
    }
    return " or ".join(f'label_replace({use}, "part", "{part}", "", "")' for part, use in used.items())


_NOT_ASIDE = 'work!="aside"'
