"""The demonstration: two drawn cameras, one server, and who is who in both.

    command    its options, and all of it in order
    clips      draws both cameras, and numbers tracks as a tracker would
    serving    a server of our own, stopped whatever happens
    streaming  both clips through the client
    matching   mean vectors, pairs, rank-1
    identify   the answers put together, and how right they are
    picture    everything in one picture
    lettering  smooth text for it
    report     speed and matches in words

Start it with `make demo` or `python -m demo --help`.
"""
