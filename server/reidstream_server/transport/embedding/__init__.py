"""EmbeddingService: the contract's messages, read and written.

service               the four methods; how a stream opens
stream                an open stream: one task reads, one writes, until the session is over
lifetime              when a session is asked to leave: its age, its idleness
options, frames       requests -> what `intake` takes
answers, models       what the runtime answers -> messages
reading               a stream's messages, one at a time
epochs                who holds a session
record                what the log says of a session
shared                pixels in a client's own memory: the agreement
shared_segment        pixels in a client's own memory: the mapping
"""
