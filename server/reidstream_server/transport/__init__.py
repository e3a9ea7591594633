"""Doors: a wire's bytes become typed values once, here, and the runtime never sees a message.

addresses      ports: how they are written, and why one cannot be taken
door           what the composition root needs of a port
status         the one table of what callers are told, a column for each kind of door
entrance       what every call passes, whatever its door
grpc_server    the gRPC port: hosted services, guard, health, reflection, how calls end
embedding      EmbeddingService on it: the stream, the single call, the models
admin          AdminService on it: the sessions and the server, for operators
http_server    the HTTP port: requests within bounds, for whoever answers them
rest           POST /embed on it, its descriptions, and probes
operators      the operators' port, which is no door: metrics and probes over HTTP
"""
