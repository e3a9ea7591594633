"""The backends of a CPU, in cosine, retrieval and speed: the figures of docs/backends.md.

    golden   golden vectors and their network inputs
    engines  the backends, and how long each takes

`python -m bench.backends DATA MODEL.onnx ...` prints a table for each model.
"""
