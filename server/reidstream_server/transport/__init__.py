"""gRPC in, gRPC out: bytes become typed values once, here, and the runtime never sees a message.

options, frames: requests -> runtime types      answers: runtime types -> messages      status: the one table of codes
embedding: EmbeddingService      endpoint: the server with health and reflection
"""
