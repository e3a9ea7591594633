"""The gRPC port, for any number of services.

hosting       what a service tells the port of itself
caller        what a call shows of its caller
guard         refuses strangers, and new calls while the server stops, before a message is read
admission     which calls are taken in, and how many at a time
endings       calls whose end their client does not take are hung up
handlers      a handler with another method or parser
undecodable   headers that are no text
structure     how much of a message is not pixels
unparsable    requests as they came, which are no message perhaps, or have too much structure
forgetting    a call that ends with an error keeps nothing of what it held
receipts      who holds what gRPC has received: the calls of each connection, and what was read from it
sockets       how many bytes each connection has received, by the kernel
calls         how a call ends with a status
ended         how calls have ended, counted by method and status
health        the port's health, and that of what it serves
connections   what one connection may do, so that it does not take the place of all others
server        the port itself, with health and reflection
"""
