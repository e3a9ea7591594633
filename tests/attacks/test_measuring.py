"""The harness of attacks judges rightly: a harness that finds nothing wrong proves nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped]

from reidstream_engines.headers import parse_encoded
from tests.attacks.attackers.http2 import Http2, prefix
from tests.attacks.attackers.messages import png_bomb, scan_bomb
from tests.attacks.attackers.target import EMBED_STREAM, LIST_MODELS
from tests.attacks.catalogue import ATTACKS, Attack
from tests.attacks.cli import main
from tests.attacks.measuring.footprints import Look, steady
from tests.attacks.measuring.records import Attempt, Stretch, stretch_of
from tests.attacks.measuring.run import Outcome
from tests.attacks.measuring.verdicts import failures
from tests.attacks.report import header, row
from tests.support.harness import serving

MIB = 2**20
FINE = Stretch(sent=50, answered=50, p50_ms=10, p99_ms=20, worst_ms=22)
LOOK = Look(at=1.0, private_bytes=80 * MIB, resident_bytes=150 * MIB, descriptors=23, threads=14, pool_threads=4)
HARMLESS = Outcome(
    attack="nothing",
    camera={"calm": FINE, "attack": FINE, "after": FINE},
    visitors={"calm": FINE, "attack": FINE, "after": FINE},
    before=LOOK,
    after=LOOK,
    private_peak_bytes=90 * MIB,
    peak_bytes=160 * MIB,
    published_bytes=1000 * MIB,
    became={},
    cut_short="",
    serves="",
    exit_code=0,
    stop_s=0.1,
    log_tail=(),
)


def with_camera(**phases: Stretch) -> Outcome:
    return dataclasses.replace(HARMLESS, camera={**HARMLESS.camera, **phases})


def after(**held: int) -> Outcome:
    return dataclasses.replace(HARMLESS, after=dataclasses.replace(LOOK, **held))


def test_what_did_no_harm_has_no_failures() -> None:
    """Bounds are bounds: three times the delay and 100 MB are still allowed."""
    slower = dataclasses.replace(FINE, p99_ms=60)
    assert failures(HARMLESS) == []
    assert failures(with_camera(attack=slower)) == []
    assert failures(after(private_bytes=LOOK.private_bytes + 100_000_000)) == []


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (with_camera(attack=dataclasses.replace(FINE, answered=49)), "the victim lost 1 of 50 frames, and 0 of 50"),
        (with_camera(after=dataclasses.replace(FINE, answered=48)), "lost 0 of 50 frames, and 2 of 50 after it"),
        (with_camera(attack=dataclasses.replace(FINE, p99_ms=61)), "p99 was 3.0 times"),
        (with_camera(calm=dataclasses.replace(FINE, p99_ms=None)), "was not served before the attack"),
        (
            dataclasses.replace(HARMLESS, visitors={"attack": dataclasses.replace(FINE, answered=1)}),
            "49 of 50 visitors were not served",
        ),
        (dataclasses.replace(HARMLESS, private_peak_bytes=1010 * MIB), "10 MiB more than it publishes"),
        (after(private_bytes=300 * MIB), "231 MB were not given back"),
        (after(descriptors=30), "7 descriptors stayed open"),
        (after(threads=20), "6 threads stayed"),
        (after(pool_threads=17), "13 threads of gRPC's pool stayed"),
        (dataclasses.replace(HARMLESS, after=None), "the server was gone"),
        (dataclasses.replace(HARMLESS, serves="GetModel: UNAVAILABLE"), "did not serve afterwards: GetModel"),
        (dataclasses.replace(HARMLESS, exit_code=-15), "ended with -15, not with 0"),
        (dataclasses.replace(HARMLESS, exit_code=None), "ended with SIGKILL"),
        (dataclasses.replace(HARMLESS, cut_short="the attacker ended by itself"), "cut short: the attacker"),
    ],
)
def test_each_harm_is_named(outcome: Outcome, said: str) -> None:
    """In a sentence, and in the table below the attack's line."""
    (found,) = failures(outcome)
    assert said in found
    assert found in row(outcome, control=False)


def test_a_row_has_a_column_for_each_heading() -> None:
    """They stand below each other."""
    assert len(header()) == len(row(HARMLESS, control=False))


def test_a_frame_without_an_answer_is_lost_and_no_delay() -> None:
    """Percentiles are of answers; what was sent before or after the stretch does not count."""
    attempts = [Attempt(sent=sent, answered=sent + 0.01 * sent) for sent in (0.5, 1.0, 2.0, 3.0)]
    attempts += [Attempt(sent=2.5, problem="the stream ended")]
    found = stretch_of(attempts, 1.0, 3.0)
    assert (found.sent, found.answered, found.lost) == (3, 2, 1)
    assert (found.p50_ms, found.worst_ms) == (15.0, 20.0)
    assert found.problems == ("the stream ended",)


def test_what_was_held_is_the_middle_of_a_stretch() -> None:
    """A single look may hit a frame that is being decoded."""
    looks = [dataclasses.replace(LOOK, at=at, private_bytes=held) for at, held in ((1, 5), (2, 7), (3, 500), (9, 1))]
    found = steady(looks, 1, 3)
    assert found is not None
    assert found.private_bytes == 7
    assert steady(looks, 4, 8) is None


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if not attack.control], ids=lambda one: one.name)
def test_every_attack_says_what_it_does_and_what_it_aims_at(attack: Attack) -> None:
    """`--list` shows the first sentence."""
    assert "Aims at:" in (attack.run.__doc__ or "")
    assert attack.about.endswith(".") or ":" in attack.about


def test_attacks_have_names_of_their_own() -> None:
    """And all of them are listed on the page of security."""
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    assert [one.name for one in ATTACKS if not one.control and f"`{one.name}`" not in page] == []


def test_a_misspelt_attack_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    assert main(["scan-bom"]) == 2
    assert "did you mean scan-bomb?" in capsys.readouterr().err


def test_a_scan_bomb_is_a_clean_picture() -> None:
    """A decoder that were content to refuse it as damaged would show nothing. Each scan has 65 bytes."""
    one, many = scan_bomb(1, 800, 600), scan_bomb(9, 800, 600)
    assert np.unique(simplejpeg.decode_jpeg(many, colorspace="GRAY")).tolist() == [128]
    assert (len(scan_bomb(9)) - len(scan_bomb(1))) / 8 <= 65
    assert len(re.findall(b"\xff\xda", many)) - len(re.findall(b"\xff\xda", one)) == 8


def test_a_large_png_is_within_the_limit_of_pixels() -> None:
    """One that was refused by its header would cost nothing."""
    info = parse_encoded(png_bomb())
    assert info.width * info.height == 40_000_000


async def test_a_connection_by_hand_is_understood() -> None:
    """Calls are answered, a silent stream stays, and what the server ends is noticed."""
    async with serving() as server, Http2("127.0.0.1", server.port) as connection:
        silent = await connection.call(EMBED_STREAM)
        asked = await connection.call(LIST_MODELS)
        await connection.data(asked, prefix(0), end=True)
        await connection.ended(asked)
        assert connection.seen["bytes answered"] > 5
        assert not connection.is_over(silent)
        await server.stop(0)
        await connection.ended(silent)
        with pytest.raises(ConnectionError):
            await connection.data(silent, b"more")
