"""The scheduling core: pure state and an injected clock. No asyncio, no threads, no I/O, no pixels.

Why pure: every rule about order, bounds, fairness and failure lives here, so that a simulator can drive the real code
with seeded cameras, engines and faults, and a failing seed replays exactly. Data flows one way: an event goes into
`Scheduler`, a list of effects comes out.

    terms, faults, effects                     the vocabulary
    timers, fair_queue, state                  parts that know nothing of each other's rules
    admission, batcher, answers, statistics    one bound or one order each
    ledger -> arrival, inference               a frame's way through all of them
    scheduler                                  events in, effects out

Trap: one owner. Nothing here is thread-safe; the service calls it on its event loop only.
"""
