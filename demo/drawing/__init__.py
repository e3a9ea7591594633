"""Two drawn cameras: people, places, lenses. Knows nothing of servers, vectors or matches."""
