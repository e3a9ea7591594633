"""People: what they wear, how they walk, and how a walking body is painted.

    wardrobe  who they are: a cast drawn from a seed
    gait      the joints of a walking body at one moment
    heads     a head with skin, hair, eyes and hat
    figure    a whole person: parts painted from far to near
"""
