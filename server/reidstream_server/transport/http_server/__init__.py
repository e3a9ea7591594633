"""The HTTP port: requests, within bounds, for whoever answers them.

listener      takes connections, so many a second
connection    one connection: requests in their order, bodies only when they are read, and an end for whoever is slow
wire          what comes on it, as the parser tells it
incoming      the same, counted
body          the body of a request, and who waits for more of it
requests      a request as handlers see it
responses     what is answered; a refusal as problem+json
routes        which handler a path has
crowd         all connections: how many there may be, and who gives way
terms         what a connection is given
deadline      the time that it has left
held          answers that are not taken yet, within a bound
ended         how requests have ended, counted by route and status
tasks         the task that answers a request
installed     whether what the port needs is there
server        the port itself
"""
