"""Who calls, the same for every door: tokens, certificates, and the files of TLS.

    tokens    names by tokens, from a file
    access    what a call shows -> the caller's identity, or a refusal
    tls       the port's certificate and key, checked before anything listens

A door reads headers and certificates in its own way, and hands them over as `Presented`. Nothing here knows a door.
"""
