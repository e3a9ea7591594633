"""Looking at a server from outside: what is there, without any judgement.

everything   all looks in their order
network      names and TCP connections
port         what a port speaks
tls          a handshake, and the server's certificate
web          one page by HTTP
operators    metrics and probes
exposition   Prometheus's text
calls        the server's unary methods
frames       frames that are drawn, and their answers
picture      the drawn picture
progress     what is looked at now, on a terminal
"""
