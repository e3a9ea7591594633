"""Package `reidstream.v1`, generated.

Why the imports are here: protobuf 7 warns once about every module generated for major 6, although that pair is
supported and tested
here. The stubs are imported once with that warning off, so that applications which turn warnings into errors can
use them.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Protobuf gencode version", category=UserWarning)
    from . import frame_pb2, image_pb2, model_pb2, service_pb2, session_pb2

__all__ = ["frame_pb2", "image_pb2", "model_pb2", "service_pb2", "session_pb2"]
