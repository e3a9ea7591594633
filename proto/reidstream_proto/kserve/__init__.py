"""The generated package `inference`: the open inference protocol (KServe v2).

Trap: its names are everybody's. In a process that imports another package with them, such as tritonclient, this one
cannot be imported; so nothing imports it but what serves the protocol. Why warnings are filtered: see
`reidstream_proto.v1`.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Protobuf gencode version", category=UserWarning)
    from . import inference_pb2

__all__ = ["inference_pb2"]
