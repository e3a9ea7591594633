"""A frame on its way out, and its answer on the way back. No network here.

boxes           the caller's boxes, class ids and scores, checked
images          what a caller may give as a picture
payloads        the caller's pictures, ready for the wire
raw_layouts     raw pixels: does the layout fit the data?
conversions     raw pixels that the wire does not know, converted
misfits         what is no picture, and what to give instead
doubts          boxes that are allowed and look wrong
encoded_size    what an image file is, its width and height
orientation     how an image file is to be turned
tracked_boxes   the boxes that belong to tracks, in pixels of the source frame
framing         a frame as the bytes of its message
shared_memory   raw pixels in memory that a server on this machine reads
results         a FrameResult as the caller's arrays
track_ends      a TrackEnded as the caller's arrays
"""
