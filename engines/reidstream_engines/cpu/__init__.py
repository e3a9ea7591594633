"""Frames and networks on the processor: pictures by libjpeg-turbo and OpenCV, networks by onnxruntime or OpenVINO.

`onnx_loading` makes an engine of a model file. A crop's way through it:

    stager (decoding/) -> preprocess (resize) -> onnx_engine -> loaded_network
                                                  onnxruntime_network | openvino_network -> rows
"""
