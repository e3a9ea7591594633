"""A threshold for a space: from which cosine on two vectors count as the same person.

    groups        pictures of people, and which of them are surely two people: from labels, or from a recorded stream
    pairs         the scores of pairs that are surely two people, and of pairs that are surely one
    threshold     the threshold at a wanted false-match rate, with intervals from a bootstrap over people
    file          a small JSON file, which is refused for vectors of another space

Without labels: two boxes of one frame are two people, and so are their tracks, all along; one track is one person.

Trap: the rate holds for people as they were recorded. Another place with other clothes, and a tracker that switches
identities, make it another one.
"""

from .file import Threshold, read_threshold, write_threshold
from .groups import Groups, from_labels, from_streams
from .threshold import calibrate

__all__ = ["Groups", "Threshold", "calibrate", "from_labels", "from_streams", "read_threshold", "write_threshold"]
