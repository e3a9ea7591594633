"""From what was seen to what it means. Nothing here asks the network, the clock or the environment.

everything   all checks in their order
words        sentences that several checks need
network      name, port, protocol, proxy
trust        TLS, the certificate, tokens
service      health, versions, the model and its space
timing       clocks, round trip, stages, the uplink
frames       sizes, the window, answers, vectors
load         penalties, and what is full
metrics      two looks at the metrics, compared
machine      what metrics say of the server: cores, memory, faults
"""
