"""Frames and networks on the processor: decoding by libjpeg-turbo and OpenCV, networks by onnxruntime or OpenVINO.

buffers, png, color -> stager -> preprocess (resize) -> onnx_engine -> rows -> network | openvino_session
"""
