"""Every attack, by its name, with what is special about it.

What an attack does, and what it aims at, is in the docstring of its function.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .attackers import (
    administering,
    calling,
    crowding,
    decoding,
    flooding,
    free_riding,
    holding,
    inferring,
    inferring_web,
    operating,
    outnumbering,
    parsing,
    protocol,
    resetting,
    scraping,
    tracking,
    web,
)
from .attackers.target import Attack as Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack.

    `log_is_read`: False leaves the server's stderr in a pipe that nobody reads. `repeat_sigterm`: the server is told to
    stop not once but ten times a second. `control`: no attack; it is measured, and nothing is demanded.
    """

    name: str
    run: Run
    log_is_read: bool = True
    repeat_sigterm: bool = False
    control: bool = False

    @property
    def about(self) -> str:
        """The first sentence of what it does."""
        return (inspect.getdoc(self.run) or "").partition("\n\n")[0].replace("\n", " ")


ATTACKS: Final[Sequence[Attack]] = (
    Attack(name="nothing", run=operating.nothing, control=True),
    Attack(name="neighbour", run=operating.another_camera, control=True),
    Attack(name="scan-bomb", run=decoding.scans),
    Attack(name="large-pngs", run=decoding.large_pngs),
    Attack(name="unfinished-health", run=holding.unfinished_health),
    Attack(name="unfinished-embeds", run=holding.unfinished_embeds),
    Attack(name="unfinished-frames", run=holding.unfinished_frames),
    Attack(name="refused-messages", run=holding.refused_messages),
    Attack(name="parked-frames", run=holding.parked_frames),
    Attack(name="class-ids", run=parsing.class_ids),
    Attack(name="gzipped-boxes", run=parsing.gzipped_boxes),
    Attack(name="gzipped-headers", run=parsing.gzipped_headers),
    Attack(name="crop-headers", run=parsing.crop_headers),
    Attack(name="damaged-pictures", run=parsing.damaged_pictures),
    Attack(name="ready-crops", run=flooding.ready_crops),
    Attack(name="unending-tracks", run=tracking.unending_tracks),
    Attack(name="idle-sessions", run=crowding.idle_sessions),
    Attack(name="silent-streams", run=crowding.silent_streams),
    Attack(name="unread-openings", run=crowding.unread_openings),
    Attack(name="ungranted-calls", run=crowding.ungranted_calls),
    Attack(name="health-watches", run=crowding.health_watches),
    Attack(name="rapid-reset", run=resetting.rapid_reset),
    Attack(name="boxes-below-bound", run=free_riding.boxes_below_the_bound),
    Attack(name="boxes-without-crops", run=free_riding.boxes_without_crops),
    Attack(name="late-frames", run=free_riding.late_frames),
    Attack(name="broken-crops", run=free_riding.broken_crops),
    Attack(name="hidden-chunks", run=free_riding.hidden_chunks),
    Attack(name="dropped-frames", run=free_riding.dropped_frames),
    Attack(name="many-cameras", run=outnumbering.many_cameras),
    Attack(name="important-cameras", run=outnumbering.important_cameras),
    Attack(name="same-name", run=outnumbering.same_name),
    Attack(name="quick-calls", run=calling.quick_calls),
    Attack(name="quick-checks", run=calling.quick_checks),
    Attack(name="refused-embeds", run=calling.refused_embeds),
    Attack(name="unknown-methods", run=calling.unknown_methods),
    Attack(name="admin-calls", run=administering.admin_calls),
    Attack(name="reflections", run=calling.reflections),
    Attack(name="takeovers", run=calling.takeovers),
    Attack(name="untaken-answers", run=calling.untaken_answers),
    Attack(name="kept-connections", run=calling.kept_connections),
    Attack(name="settings", run=protocol.settings),
    Attack(name="pings", run=protocol.pings),
    Attack(name="window-updates", run=protocol.window_updates),
    Attack(name="priorities", run=protocol.priorities),
    Attack(name="empty-data", run=protocol.empty_data),
    Attack(name="empty-continuations", run=protocol.empty_continuations),
    Attack(name="headers-no-text", run=protocol.headers_no_text),
    Attack(name="large-headers", run=protocol.large_headers),
    Attack(name="churn", run=protocol.churn),
    Attack(name="half-open", run=protocol.half_open),
    Attack(name="half-handshakes", run=protocol.half_handshakes),
    Attack(name="http-uploads", run=web.uploads),
    Attack(name="http-gigabytes", run=web.gigabytes),
    Attack(name="http-endless-bodies", run=web.endless_bodies),
    Attack(name="http-trailers", run=web.endless_trailers),
    Attack(name="http-tiny-chunks", run=web.tiny_chunks),
    Attack(name="http-costly-forms", run=web.costly_forms),
    Attack(name="http-idle", run=web.idle_connections),
    Attack(name="http-unread-answers", run=web.unread_answers),
    Attack(name="kserve-refused-tensors", run=inferring.refused_tensors),
    Attack(name="kserve-refused-in-streams", run=inferring.refused_in_streams),
    Attack(name="kserve-huge-crops", run=inferring.huge_crops),
    Attack(name="kserve-endless-shapes", run=inferring.endless_shapes),
    Attack(name="kserve-long-lists", run=inferring.long_lists),
    Attack(name="kserve-unread-streams", run=inferring.unread_streams),
    Attack(name="kserve-silent-streams", run=inferring.silent_streams),
    Attack(name="kserve-quick-infers", run=inferring.quick_infers),
    Attack(name="kserve-lying-lengths", run=inferring.lying_lengths),
    Attack(name="kserve-bombs", run=inferring.bombs),
    Attack(name="kserve-questions", run=inferring.questions),
    Attack(name="kserve-http-lying-headers", run=inferring_web.lying_headers),
    Attack(name="kserve-http-bombs", run=inferring_web.bombs),
    Attack(name="kserve-http-costly-json", run=inferring_web.costly_json),
    Attack(name="kserve-http-questions", run=inferring_web.questions),
    Attack(name="unread-log", run=operating.log_lines, log_is_read=False),
    Attack(name="scrapes", run=operating.scrapes),
    Attack(name="hostile-scrapers", run=scraping.hostile_scrapers),
    Attack(name="hang-ups", run=operating.hang_ups, repeat_sigterm=True),
    Attack(name="endless-ages", run=operating.endless_ages),
    Attack(name="unwritten-memory", run=operating.unwritten_memory),
)


def attack_named(name: str) -> Attack:
    """Raises KeyError for a name that is not there."""
    return {attack.name: attack for attack in ATTACKS}[name]
