"""The generated package `reidstream.v1`.

Why it imports the stubs: protobuf 7 warns once about every module that was generated for protobuf 6, although this pair
is supported and tested here. The first import happens here, with that warning off. So applications that turn warnings
into errors can use the stubs.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Protobuf gencode version", category=UserWarning)
    from . import frame_pb2, image_pb2, model_pb2, service_pb2, session_pb2

__all__ = ["frame_pb2", "image_pb2", "model_pb2", "service_pb2", "session_pb2"]
