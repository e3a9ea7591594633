"""What bounds a server, each measured beside it.

    in_process  decode, cut, batch and infer in a loop, without gRPC
    echo        a bare gRPC server that answers with as many bytes
    instant     the server with an engine that costs nothing
    fifo        a simulated server that adds nothing to waiting and work

The first three are processes of their own (`python -m bench.ceilings.echo` and so on).
"""
