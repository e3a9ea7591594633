"""A frame on its way out, and its answer on the way back. No network here.

boxes           the caller's boxes, class ids and scores, checked
images          the caller's pictures, ready for the wire
encoded_size    width and height of an image file
framing         a frame as the bytes of its message
shared_memory   raw pixels in memory that a server on this machine reads
results         a FrameResult as the caller's arrays
"""
