"""Clients with tracks, the scheduler, and the memory of tracks, under cuts, drains, faults and bounds.

    plan       what a scenario is made of          scenario   from a seed to a scenario
    rows       the row of a box, always the same    wire       what a client is told
    server     the core and the memory, together    books      what the memory should have done, step by step
    client     sends, resumes, keeps snapshots      verdict    what a client may rely on, whatever happened
    world      time                                  run        the only entry

Two judges that know nothing of each other. The books follow one server and predict each decision, each end and each
snapshot. The verdict knows only what clients were told, over all servers: each box with a row belongs to one track that
ended once, and the track's sum is that of the rows that were answered.
"""
