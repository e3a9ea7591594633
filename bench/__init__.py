"""How speed, accuracy and steadiness are measured. `python -m bench --help`, docs/benchmark.md, docs/backends.md.

    command     which measurement
    serving/    python -m bench: the server beside its ceilings; `compare` puts two runs side by side
    overload/   python -m bench overload: more than the server can do, and who gets what of it
    web/        python -m bench http: the HTTP door beside a bare HTTP server
    triton/     python -m bench triton: perf_analyzer on both wires of the open inference protocol, beside the stream
    soak/       python -m bench soak: many frames of every kind, and what grows
    observing/  python -m bench tracing, python -m bench scrapes: what it costs frames that somebody watches
    gpu/        python -m bench gpu: what only a real GPU can show
    retrieval/  python -m bench retrieval: how long figures of a model take at the size of Market-1501 and MSMT17
    accuracy/   python -m bench.accuracy: how well the default model tells people apart; rank-1 and mAP
    tracks/     python -m bench tracks: what track memory saves and costs
    backends/   python -m bench.backends: what OpenVINO, bf16 and INT8 cost and give

    ceilings/   what bounds a server: the loop in one process, the bare transport, an engine that costs nothing
    load/       what cameras send, and the load generator
    machine/    processes on cores of their own, and what they use

Arrows: those above use the last three, and not each other, with one exception: backends uses accuracy's measures.
"""
