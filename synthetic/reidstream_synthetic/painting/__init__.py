"""How things are painted: a pinhole camera, one soft brush, shadows, cloth, and what a sensor does to a picture.

    optics    metres to pixels, and the ground under a pixel
    fabric    colours and patterns
    brush     paints one round part of a body with soft edges and light
    shadows   what stands in the light, drawn flat on the ground
    sensor    vignette, tone, softness, noise

It knows neither people nor places; both are painted with it.
"""
