"""The gRPC port, for any number of services.

hosting       what a service tells the port of itself
caller        what a call shows of its caller
guard         refuses strangers, and new calls while the server stops, before a message is read
structure     how much of a message is not pixels
unparsable    requests that are no message, or have too much structure
forgetting    a call that ends with an error keeps nothing of what it held
calls         how a call ends with a status
server        the port itself, with health and reflection
"""
