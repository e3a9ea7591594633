"""A frame on its way out, and its answer on the way back. No network here.

boxes           boxes, class ids and scores of the caller, checked
images          pictures of the caller, ready for the wire
framing         a frame as the bytes of its message
shared_memory   raw pixels left in memory that a server on this machine reads
results         a FrameResult as the arrays of the caller
"""
