"""The folder of plans: what is found again, what is not, what is removed, and what several processes do to it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from reidstream_engines.errors import PlanError
from reidstream_engines.tensorrt import cache as module
from reidstream_engines.tensorrt.cache import MANIFEST as MANIFEST_NAME
from reidstream_engines.tensorrt.cache import PLAN, PlanCache, read_manifest, read_plan
from reidstream_engines.tensorrt.manifest import Origin
from tests.unit.engines.tensorrt.plan_parts import IMAGE, KEY, MANIFEST, manifest_of


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(root=tmp_path / "plans")


def test_what_is_kept_is_found(cache: PlanCache) -> None:
    """The same bytes and manifest, in a folder that people can read."""
    assert cache.find(KEY, "osnet") is None
    kept = cache.keep(MANIFEST, IMAGE)
    assert cache.find(KEY, "osnet") == kept
    assert kept.image == IMAGE
    assert kept.folder.name == f"osnet-sm_90-fp16-{KEY.digest()[:16]}"
    assert sorted(path.name for path in cache.root.iterdir()) == [kept.folder.name]
    assert kept.folder.stat().st_mode & 0o777 == 0o755


def test_another_key_is_another_plan(cache: PlanCache) -> None:
    """Each field makes one."""
    cache.keep(MANIFEST, IMAGE)
    assert cache.find(replace(KEY, tensorrt_version="11.4.1"), "osnet") is None
    assert cache.find(replace(KEY, architecture="sm_89"), "osnet") is None


def test_a_model_cannot_name_its_way_out(cache: PlanCache) -> None:
    """Names are for people."""
    assert cache.folder(KEY, "../../etc/x" + "y" * 99).parent == cache.root


def spoilt_plan(folder: Path) -> str:
    (folder / PLAN).write_bytes(IMAGE[::-1])
    return "plan_sha256 is "


def short_plan(folder: Path) -> str:
    (folder / PLAN).write_bytes(IMAGE[:-1])
    return f"plan_bytes is {len(IMAGE) - 1}, not {len(IMAGE)}"


def no_plan(folder: Path) -> str:
    (folder / PLAN).unlink()
    return "cannot be read"


def no_manifest(folder: Path) -> str:
    (folder / MANIFEST_NAME).unlink()
    return "cannot be read"


def binary_manifest(folder: Path) -> str:
    (folder / MANIFEST_NAME).write_bytes(b"\xff\xfe")
    return "cannot be read"


def half_a_manifest(folder: Path) -> str:
    path = folder / MANIFEST_NAME
    path.write_text(path.read_text("utf-8")[:-30], "utf-8")
    return "is not a manifest"


def somebody_elses(folder: Path) -> str:
    path = folder / MANIFEST_NAME
    form = json.loads(path.read_text("utf-8"))
    form["key"]["tensorrt_version"] = "10.16.1"
    path.write_text(json.dumps(form), "utf-8")
    return "tensorrt_version is '10.16.1', not '11.4.0'"


@pytest.mark.parametrize(
    "spoil", [spoilt_plan, short_plan, no_plan, no_manifest, binary_manifest, half_a_manifest, somebody_elses]
)
def test_what_is_damaged_is_built_again(spoil: object, cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is logged; what is then kept takes its place."""
    assert callable(spoil)
    reason = spoil(cache.keep(MANIFEST, IMAGE).folder)
    with caplog.at_level(logging.WARNING):
        assert cache.find(KEY, "osnet") is None
    assert "a kept plan is built again" in caplog.text
    assert reason in caplog.text
    cache.keep(MANIFEST, IMAGE)
    assert cache.find(KEY, "osnet") is not None
    assert len(list(cache.root.iterdir())) == 1


def test_the_manifest_is_compared_before_the_plan_is_read(cache: PlanCache) -> None:
    """A mismatch is said although the plan is missing, too."""
    folder = cache.keep(MANIFEST, IMAGE).folder
    (folder / PLAN).unlink()
    with pytest.raises(PlanError, match="architecture is 'sm_90', not 'sm_89'; max_batch is 64, not 8"):
        read_plan(folder, wanted=replace(KEY, architecture="sm_89", max_batch=8))


def test_the_longest_unused_go_when_there_are_too_many(tmp_path: Path) -> None:
    """Built ones only; a find is a use; what was just kept stays, however large."""
    cache = PlanCache(root=tmp_path, max_bytes=3 * len(IMAGE))
    adopted = replace(manifest_of(IMAGE, max_batch=1), origin=Origin.ADOPTED, spec="{}")
    cache.keep(adopted, IMAGE)
    for age, batch in ((40, 2), (30, 3), (20, 4)):
        folder = cache.keep(manifest_of(IMAGE, max_batch=batch), IMAGE).folder
        os.utime(folder / MANIFEST_NAME, (age, age))
    assert cache.find(replace(KEY, max_batch=4), "osnet") is not None  # the oldest, until now
    cache.keep(manifest_of(IMAGE, max_batch=5), IMAGE)
    assert {manifest.key.max_batch for _, manifest in cache.manifests()} == {1, 2, 4, 5}
    large = IMAGE * 9
    cache.keep(manifest_of(large, max_batch=6), large)
    assert {manifest.key.max_batch for _, manifest in cache.manifests()} == {1, 6}


def test_readers_see_a_whole_plan_while_others_replace_it(cache: PlanCache) -> None:
    """For a moment there may be none; never one half of each."""
    images = [bytes([index]) * 5000 for index in range(4)]

    def write(image: bytes) -> None:
        for _ in range(20):
            cache.keep(manifest_of(image), image)

    def read() -> set[bytes]:
        found = (cache.find(KEY, "osnet") for _ in range(60))
        return {plan.image for plan in found if plan is not None}

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, image) for image in images]
        readers = [pool.submit(read) for _ in range(2)]
        for writer in writers:
            writer.result()
        for reader in readers:
            assert reader.result() <= set(images)
    assert len(list(cache.root.iterdir())) == 1
    assert cache.find(KEY, "osnet") is not None


def test_who_dies_while_writing_leaves_nothing_that_is_found(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename comes last."""

    def die(made: Path, folder: Path) -> None:
        assert {path.name for path in made.iterdir()} == {PLAN, MANIFEST_NAME}
        raise KeyboardInterrupt(str(folder))

    monkeypatch.setattr(module, "_swap", die)
    with pytest.raises(KeyboardInterrupt):
        cache.keep(MANIFEST, IMAGE)
    assert list(cache.root.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Whoever runs this may be root, whom no mode stops; a file in the way stops everybody."""
    (tmp_path / "plans").touch()
    cache = PlanCache(root=tmp_path / "plans")
    with pytest.raises(PlanError, match="cannot be kept"):
        cache.keep(MANIFEST, IMAGE)
    with pytest.raises(PlanError, match="cannot be written"), cache.building():
        pass


def test_timings(cache: PlanCache) -> None:
    """By version and architecture; damaged ones count as none."""
    assert cache.timing(KEY) == b""
    with cache.building():
        cache.keep_timing(KEY, b"measured")
        cache.keep_timing(KEY, b"")
    assert cache.timing(KEY) == b"measured"
    assert cache.timing(replace(KEY, architecture="sm_89")) == b""
    (path,) = cache.root.glob("timing-*")
    assert path.name == "timing-tensorrt-11.4.0-sm_90.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.timing(KEY) == b""


def test_timings_that_cannot_be_kept_are_no_error(cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    """The plan is there; the next build is slower."""
    cache.keep_timing(KEY, b"measured")
    assert "cannot be kept" in caplog.text


HOLDER = """
import sys
from pathlib import Path
from reidstream_engines.tensorrt.cache import PlanCache
with PlanCache(root=Path(sys.argv[1])).building():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_builds_at_a_time(cache: PlanCache) -> None:
    """The next one waits until it is done, or dead."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(cache.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder, ThreadPoolExecutor(1) as pool:
        assert holder.stdout.readline() == b"held\n"

        with (cache.root / ".lock").open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def build() -> None:
            with cache.building():
                pass

        waiting = pool.submit(build)
        holder.kill()
        waiting.result()


def test_what_lies_around_is_no_plan(cache: PlanCache) -> None:
    """Nor is it touched."""
    folder = cache.keep(MANIFEST, IMAGE).folder
    shutil.copytree(folder, cache.root / ".making-x")
    (cache.root / "notes").mkdir()
    (cache.root / "notes" / MANIFEST_NAME).write_text("mine", "utf-8")
    assert [path for path, _ in cache.manifests()] == [folder]
    assert read_manifest(folder) == MANIFEST
