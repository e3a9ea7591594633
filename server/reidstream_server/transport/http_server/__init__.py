"""The HTTP port: requests, within bounds, for whoever answers them.

connection    one connection: heads within bounds, bodies only when they are read, and an end for whoever is slow
incoming      what comes on a connection, counted
requests      a request as handlers see it, and its body
responses     what is answered; a refusal as problem+json
routes        which handler a path has
crowd         all connections: how many there may be, and who gives way
held          answers that are not taken yet, within a bound
ended         how requests have ended, counted by route and status
installed     whether what the port needs is there
server        the port itself
"""
