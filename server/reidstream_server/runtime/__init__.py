"""Where the pure core meets time, threads and engines.

    models -> job -> blocking (in workers), session -> runtime

One event loop owns the scheduler; staging and inference run in threads and talk back by `call_soon_threadsafe`, one
wake-up per staged frame and one per batch. Knows nothing of gRPC.
"""
