"""What cameras send, and the load generator.

    question   what the generator is asked to send, and what it answers; `run_load` starts it
    generator  the generator itself, a process of its own
    arrivals   when cameras send
    pictures   what they send
    shared     the same by handle, in shared memory

It uses no product client, so that it costs as little as possible.
"""
