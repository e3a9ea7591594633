"""The folder of plans. Each plan has a folder of its own with its manifest, named by a digest of all it depends on.

    CACHE/<model>-<architecture>-<precision>-<16 digits of the key>/plan.engine, manifest.json
    CACHE/timing-<flavour>-<version>-<architecture>.bin       TensorRT's measurements, so that the next build is quick

Why folders: one rename puts plan and manifest in place together, so a reader sees both or neither, whichever process
dies. Traps: a plan is read only if its manifest fits, and used only if its digest is the manifest's. A plan that cannot
be used is built again; that is no error. An adopted plan cannot be built again, so it is never removed to save space.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reidstream_engines.errors import PlanError

from .manifest import Origin, PlanKey, PlanManifest, manifest_to_json, mismatches, parse_manifest

MANIFEST = "manifest.json"
PLAN = "plan.engine"
DEFAULT_MAX_BYTES = 4 << 30

_log = logging.getLogger(__name__)
_KEY_DIGITS = 16
_DIGEST_BYTES = 32
_IN_THE_WAY = (errno.EEXIST, errno.ENOTEMPTY)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A complete plan that fits this machine. `image`: the serialised plan. `folder`: where it is kept."""

    image: bytes
    manifest: PlanManifest
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCache:
    """Plans in `root`, which is made if it is missing. `max_bytes` bounds the built plans; the last used are kept.

    Any number of threads and processes. All methods raise PlanError for a folder that cannot be read or written.
    """

    root: Path
    max_bytes: int = DEFAULT_MAX_BYTES

    def folder(self, key: PlanKey, model: str) -> Path:
        """Where the plan for a key is, or would be."""
        name = _UNSAFE.sub("_", model)[:64]
        precision = key.precision.value
        return self.root / f"{name}-{key.architecture}-{precision}-{key.digest()[:_KEY_DIGITS]}"

    def find(self, key: PlanKey, model: str) -> Plan | None:
        """The plan for a key; None if it must be built. If a plan cannot be used, the log has the reason."""
        folder = self.folder(key, model)
        if not folder.is_dir():
            return None
        try:
            plan = read_plan(folder, wanted=key)
        except PlanError as error:
            _log.warning("a kept plan is built again: %s", error)
            return None
        with contextlib.suppress(OSError):  # a cache that is read-only
            os.utime(folder / MANIFEST)
        return plan

    def keep(self, manifest: PlanManifest, image: bytes) -> Plan:
        """Keep a plan, in place of an older one, in one step. Then remove the longest unused plans beyond the bound."""
        folder = self.folder(manifest.key, manifest.model)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=self.root, prefix=".making-"))
            try:
                made.chmod(0o755)
                _write(made / PLAN, image)
                _write(made / MANIFEST, manifest_to_json(manifest).encode())
                _swap(made, folder)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        except OSError as error:
            raise PlanError(f"the plan cannot be kept in {self.root}: {error}") from error
        self._trim(folder)
        return Plan(image=image, manifest=manifest, folder=folder)

    def timing(self, key: PlanKey) -> bytes:
        """The timing cache of this TensorRT and architecture; empty if there is none or it is damaged."""
        try:
            data = self._timing_path(key).read_bytes()
        except OSError:
            return b""
        digest, kept = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        return kept if hashlib.sha256(kept).digest() == digest else b""

    def keep_timing(self, key: PlanKey, data: bytes) -> None:
        """Keep a timing cache. A failure is only logged, since it only makes the next build slower."""
        if not data:
            return
        path = self._timing_path(key)
        try:
            handle, name = tempfile.mkstemp(dir=self.root, prefix=".timing-")
            os.close(handle)
            _write(Path(name), hashlib.sha256(data).digest() + data)
            Path(name).replace(path)
        except OSError as error:
            _log.warning("the timing cache cannot be kept: %s", error)

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """A lock that one process holds at a time: two builds at once would disturb each other's measurements.

        It is released when the process ends, however it ends.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("wb")
        except OSError as error:
            raise PlanError(f"the plan cache {self.root} cannot be written: {error}") from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def manifests(self) -> tuple[tuple[Path, PlanManifest], ...]:
        """The folder and manifest of every plan, the last used first. Unreadable ones are left out."""
        found = []
        for path in self.root.glob(f"[!.]*/{MANIFEST}"):  # without folders that are being made
            with contextlib.suppress(PlanError, OSError):
                found.append((path.stat().st_mtime, path.parent, read_manifest(path.parent)))
        return tuple((folder, manifest) for _, folder, manifest in sorted(found, key=lambda item: item[:2])[::-1])

    def _timing_path(self, key: PlanKey) -> Path:
        version = _UNSAFE.sub("_", key.tensorrt_version)
        return self.root / f"timing-{key.flavour.value}-{version}-{key.architecture}.bin"

    def _trim(self, newest: Path) -> None:
        used = 0
        for folder, manifest in self.manifests():
            if manifest.origin is Origin.ADOPTED:
                continue
            used += manifest.plan_bytes
            if used > self.max_bytes and folder != newest:
                _log.info("plan %s is removed: the plans have more than %d bytes together", folder.name, self.max_bytes)
                shutil.rmtree(folder, ignore_errors=True)


def is_plan_folder(folder: Path) -> bool:
    """Whether this is the folder of a plan."""
    return (folder / MANIFEST).is_file()


def read_plan(folder: Path, *, wanted: PlanKey | None) -> Plan:
    """Read a plan. With `wanted`, its manifest is compared first. Raises PlanError, with the field and both values."""
    manifest = read_manifest(folder)
    if wanted is not None:
        wrong = mismatches(manifest.key, wanted)
        if wrong:
            raise PlanError(f"{folder / MANIFEST}: {'; '.join(map(str, wrong))}")
    path = folder / PLAN
    try:
        image = path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error}") from error
    if len(image) != manifest.plan_bytes:
        raise PlanError(f"{path} is damaged: plan_bytes is {len(image)}, not {manifest.plan_bytes}")
    found = hashlib.sha256(image).hexdigest()
    if found != manifest.plan_sha256:
        raise PlanError(f"{path} is damaged: plan_sha256 is {found}, not {manifest.plan_sha256}")
    return Plan(image=image, manifest=manifest, folder=folder)


def read_manifest(folder: Path) -> PlanManifest:
    """The manifest of a plan's folder. Raises PlanError."""
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} cannot be read: {error}") from error
    return parse_manifest(text, where=str(path))


def _write(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk; else a power failure could leave a name without data."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap(made: Path, folder: Path) -> None:
    """`made` becomes `folder`. An older folder is moved away first, since rename does not replace a full folder."""
    while True:
        try:
            made.rename(folder)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
        else:
            return
        old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".old-"))
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            folder.rename(old / "plan")
        shutil.rmtree(old, ignore_errors=True)
