"""Places: what a camera sees while nobody is there.

    place     a finished place: its view, light, background, and what people walk behind
    masonry   walls, benches and leaves as polygons
    plaza     a plaza in the sun, before a cafe
    crossing  a street crossing under clouds, before a brick house

To add one: a module with a function `(rng, view) -> Place`, and its ways in `scene`.
"""
