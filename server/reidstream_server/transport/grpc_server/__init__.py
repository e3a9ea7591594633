"""The gRPC port, for any number of services.

hosting       what a service tells the port of itself
caller        what a call shows of its caller
guard         refuses strangers, and new calls while the server stops, before a message is read
unparsable    bytes that are no message
receipts      who holds what gRPC has received: the calls of each connection, and what was read from it
sockets       how many bytes each connection has received, by the kernel
calls         how a call ends with a status
server        the port itself, with health and reflection
"""
