"""The scheduling core: pure state and an injected clock. No asyncio, no threads, no I/O, no pixels.

Why pure: every rule about order, bounds, fairness and failure lives here, so that a simulator can drive the real code
with seeded cameras, engines and faults, and a failing seed replays exactly. Data flows one way: an event goes into
`Scheduler`, a list of effects comes out.

    terms -> state -> fair_queue, admission, batcher, timers -> scheduler -> effects

Trap: one owner. Nothing here is thread-safe; the service calls it on its event loop only.
"""
