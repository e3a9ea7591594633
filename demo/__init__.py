"""The demonstration: two drawn cameras, one server, and who is who across them."""
