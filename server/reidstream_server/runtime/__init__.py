"""Where the pure core meets time, threads and engines.

    models, agreement      what is served, and what a call agreed on
    job                    a frame on its way: pictures, tensors, crops, vectors
    blocking, workers      what runs in threads
    at_work                the models with their threads
    wakeups                how the event loop is woken
    dispatch               frames and batches to threads, and back
    session, statistics    a session's mailbox, and what it did
    losses                 sessions that lose frames, told once a minute
    open_sessions          all of them, and whether new ones may open
    runtime                drives the scheduler

One event loop owns the scheduler; staging and inference run in threads and come back by `call_soon_threadsafe`, one
wake-up per staged frame and one per batch. Knows nothing of any door.
"""
