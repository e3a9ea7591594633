"""How xdist's workers are given tests: in the order of `places`, a unit at a time."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from tests.support.places import unit_of


class LongestFirst(LoadScopeScheduling):
    """As `--dist=loadscope --no-loadscope-reorder`, with other units."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
