"""Labelled pictures from files: what layouts mean, and whether anything is wrong with them.

    opening       a data set of any layout, as queries and a gallery
    market        Market-1501: names that have identity, camera and sequence
    folders       a folder for each identity
    motchallenge  ground truth of frames
    tao           TAO's lists of queries and gallery, in JSON
    splitting     one set of pictures into queries and gallery; so many identities of it
    checking      counts, duplicates, files that cannot be read
    files         image files of a folder; whether one is whole
    grouping      a flat set, written as a folder for each identity

Trap: everything that can be wrong is found here, before the first vector is made.
"""

from .checking import Findings, check
from .grouping import group
from .opening import Dataset, Layout, open_dataset
from .splitting import first_of_each, only_identities

__all__ = ["Dataset", "Findings", "Layout", "check", "first_of_each", "group", "only_identities", "open_dataset"]
