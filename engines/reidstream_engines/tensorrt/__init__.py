"""TensorRT: plans are built, kept, adopted and run.

    model file -> onnx_graph, fp16 -> parsing -> builder (progress) -> plans -> cache (manifest, json_fields)
    trtexec's plan -> examine -> adopt -> cache
    cache -> opened_gpu -> opened_plan -> runner, graphs (network) -> engine

`api` is TensorRT itself, as types; `messages` keeps what it logs; `commands` is the command line.
"""
