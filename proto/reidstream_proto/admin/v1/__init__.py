"""The generated package `reidstream.admin.v1`. Why it imports its stubs: see `reidstream_proto.v1`."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Protobuf gencode version", category=UserWarning)
    from . import admin_pb2

__all__ = ["admin_pb2"]
