"""What stands in for DeepStream, which needs a GPU and its own libraries.

nvinferserver.proto   the fields of the element's configuration that our page uses
pipeline.py           `pyds` and GStreamer, as far as a probe sees them
"""
