"""gRPC in, gRPC out: bytes become typed values once, here, and the runtime never sees a message.

options, frames         requests -> runtime types
answers                 runtime types -> messages
status                  the one table of codes
security, tokens        who may call
epochs                  who holds a session
parsing, calls          how calls end that cannot be served
shared, shared_segment  pixels in a client's own memory
embedding               EmbeddingService
endpoint                the server with health and reflection
"""
