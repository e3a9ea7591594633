"""The memory of tracks. Pure: time is an argument, rows are numpy data; no clock, no asyncio, no pixels, no wire.

A tracker asks for the same person's vector many times a second, and most of these inferences teach nothing. Here it is
decided which box needs a row of its own, and what a track keeps of its rows.

    terms      what a session agreed on: when to embed, how a track's vector is made
    sighting   one box as a track sees it: where it is, how good it is, how much others overlap it
    policy     whether a box needs a row of its own, and why
    rows       what a track keeps of its rows: their sum, the newest, and a few to choose from
    track      one track: what came of it, what was told of it, its snapshot and its end
    memory     a session's tracks: decisions, promises, ends
    room       the bytes of all sessions' tracks

Trap: a session can go on at another server. So every number that its snapshot has is rounded as the wire rounds it,
before it is used: the other server then decides and sums up as this one would have.
"""
