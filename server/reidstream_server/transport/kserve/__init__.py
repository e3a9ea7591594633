"""The open inference protocol (KServe v2, as Triton speaks it): its clients change a URL, and nothing else.

asked           a request in plain values, as both wires say it
tensors         the bytes of a tensor -> numbers, pixels or pictures
region_file     a file in /dev/shm that a client names, opened, read and written with care
regions         the regions that clients have registered: whose they are, and how many there may be
planning        a request -> crops of a plan, or what is wrong with it
inference       a request -> rows: the one way for both wires
described       models, as the protocol describes them
counts          what models did, as the protocol counts it
grpc_messages   requests and answers on the gRPC wire
grpc_stream     ModelStreamInfer
grpc_service    the service on the gRPC port
offered         what the protocol has and this server has not
as_json         messages of the protocol as JSON
http_body       requests and answers as JSON with binary tensors behind it
http_routes     the paths on the HTTP port
"""
