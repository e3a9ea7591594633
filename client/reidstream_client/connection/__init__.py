"""Calls to one server: where it is, how to trust it, and what its errors mean here.

    protocols       what the client asks of a connection and a call
    grpc_connection a gRPC channel and its calls
    stream_call     the EmbedStream call below a session
    forking         what a fork does to gRPC, and what to do before one
    retries         calls that met no ready server, repeated
    within          a wait with a time limit, for which no cancellation is lost
    credentials     TLS files and tokens
    targets         HOST:PORT, and what people get wrong in it

Knows nothing of frames and sessions: bytes go out, messages come in.
"""
