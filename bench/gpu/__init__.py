"""What only a real GPU can show; `make gpu-check` runs it.

    command         the options of `python -m bench gpu`, and the list of all checks
    launch          the device under check, and the kernel alone on it
    report          a check's outcome, as a line, Markdown and JSON
    checks          kernel, graph replay, vectors, memory, compute-sanitizer
    emulated        the kernel against its own source on this machine's CPU
    golden          golden vectors
    tensorrt        TensorRT's plans, and a foreign plan
    foreign_plan    builds such a plan
    speed           kernel beside a copy, engine beside its network
    decode          JPEG decoded by the GPU
    loopback        the whole service beside its ceilings
    serve           the server for that

Networks to check with:

    stand_in        the fastest network that the machine has: TensorRT's, else torch's
    host_network    onnxruntime on the CPU, for machines with neither
    torch_network   a network in torch as CUDA graphs
    torch_graph     an ONNX graph in torch
    drawn_networks  ResNet-50 and OSNet with random weights, as ONNX files
"""
