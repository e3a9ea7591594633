"""The gRPC port, for any number of services.

hosting       what a service tells the port of itself
caller        what a call shows of its caller
guard         refuses strangers, and new calls while the server stops, before a message is read
undecodable   headers that are no text
unparsable    bytes that are no message
calls         how a call ends with a status
connections   what one connection may do, so that it does not take the place of all others
server        the port itself, with health and reflection
"""
