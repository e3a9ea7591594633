"""Calls to one server: where it is, how it is known, and what its errors mean here.

    grpc_connection a channel and its calls
    stream_call     the EmbedStream call below a session
    credentials     TLS files and tokens
    targets         HOST:PORT, and what people get wrong in it

Knows nothing of frames and sessions: bytes go out, messages come in.
"""
