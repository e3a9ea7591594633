"""From any door to the runtime: the rules of a call and of a frame, once, without the words of any wire.

    limits        every bound that this room keeps, and the record of bounds that is published
    fields        the bounds of a call's text and lists
    terms         what a call asks for -> an Agreement, or a refusal
    plan          a frame's pictures, boxes and tensors -> crops and rows
    frames        the bounds of a frame around its plan -> a job, or a fault
    turned        says once that a camera's pictures are to be turned, and nobody asked for it
    ask           one frame, one answer: a session for callers that have no stream
    box_answers   what became of each box

A door reads its wire and calls these with plain values. So every door answers what the stream answers, bit for bit, and
a new rule is written once.
"""
