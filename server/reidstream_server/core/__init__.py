"""The scheduling core: pure state and an injected clock. No asyncio, no threads, no I/O, no pixels.

Why pure: every rule about order, bounds, fairness and failure lives here, so that a simulator can drive the real code
with seeded cameras, engines and faults, and a failing seed replays exactly. Data flows one way: an event goes into
`Scheduler`, a list of effects comes out.

    terms, faults, effects          the vocabulary
    statistics                      what can be seen from outside, and how fast frames are served
    lanes, rounds, ring,
    fair_queue                      whose turn it is: within a client, within a priority, and of all
    timers, state                   parts that know nothing of each other's rules
    sharing                         the one rule for what all share
    admission, batcher              one bound or one order each
    delivery                        answers, in their order
    fleet                           the models that are there, each with its batcher
    precedence                      whose frames of high priority are served first
    sources                         who pays for what it took without a right to it
    staging                         frames that are being staged, and how much memory pixels take
    ledger                          what every frame holds, and that it gives all of it back
    arrival, inference              two stretches of a frame's way on which much can happen; both use the ledger
    decoding                        the stretch between them: what follows when a decoder comes back, or does not
    progress                        how far a session's open frames are, for people who ask
    scheduler                       events in, effects out

Each imports only from its own line and from lines above it.

Trap: one owner. Nothing here is thread-safe; the service calls it on its event loop only.
"""
