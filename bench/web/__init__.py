"""The HTTP door beside a bare HTTP server of the same kind.

    command  python -m bench http: measures and prints
    client   the load: keep-alive connections that ask again as soon as they are answered, a process of its own
    echo     the ceiling: uvicorn's connections with an application that reads a body and answers as many bytes

The last two are processes of their own.
"""
