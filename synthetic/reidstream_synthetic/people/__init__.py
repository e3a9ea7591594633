"""People: what they wear, how they walk, and how a walking body is painted.

    person    a person: body, clothes, hair, luggage
    cast      who comes along: people drawn from a seed, dressed differently
    gait      the joints of a walking body at one moment
    heads     a head with skin, hair, eyes and hat
    figure    a whole person: parts painted from far to near

Where they walk is not known here: a `Stance` says where somebody is.
"""
