"""The folder of plans: one folder a plan, named by the digest of all that it depends on, with its manifest.

    CACHE/<model>-<architecture>-<precision>-<16 digits of the key>/plan.engine, manifest.json
    CACHE/timing-<flavour>-<version>-<architecture>.bin       TensorRT's measurements, so that the next build is quick

Why folders: one rename puts plan and manifest in place together, so a reader sees both or neither, whoever dies.
Traps: a plan is only read after its manifest fits, and only given out if its digest is the manifest's. What cannot be
used is a reason to build again, not an error; what was adopted cannot be built again, and is never removed for space.
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
    """A plan that fits here and is whole. `image` is what is deserialised. `folder`: where it is kept."""

    image: bytes
    manifest: PlanManifest
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCache:
    """Plans in `root`, which is made if it is missing; `max_bytes` bounds the built ones, the last used stay.

    Any number of threads and processes. Everything raises PlanError for a folder that cannot be read or written.
    """

    root: Path
    max_bytes: int = DEFAULT_MAX_BYTES

    def folder(self, key: PlanKey, model: str) -> Path:
        """Where the plan for a key is, or would be."""
        name = _UNSAFE.sub("_", model)[:64]
        precision = key.precision.value
        return self.root / f"{name}-{key.architecture}-{precision}-{key.digest()[:_KEY_DIGITS]}"

    def find(self, key: PlanKey, model: str) -> Plan | None:
        """The plan for a key; None if it must be built, with the reason in the log."""
        folder = self.folder(key, model)
        if not folder.is_dir():
            return None
        try:
            plan = read_plan(folder, wanted=key)
        except PlanError as error:
            _log.warning("a kept plan is built again: %s", error)
            return None
        with contextlib.suppress(OSError):  # a cache that is only read
            os.utime(folder / MANIFEST)
        return plan

    def keep(self, manifest: PlanManifest, image: bytes) -> Plan:
        """Put a plan in place, all at once, for one that is there; then remove the longest unused beyond the bound."""
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
        """What `keep_timing` kept for this TensorRT and architecture; empty if there is nothing or it is damaged."""
        try:
            data = self._timing_path(key).read_bytes()
        except OSError:
            return b""
        digest, kept = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        return kept if hashlib.sha256(kept).digest() == digest else b""

    def keep_timing(self, key: PlanKey, data: bytes) -> None:
        """Keep a timing cache. That it cannot be kept is logged: the plan is there, only the next build is slower."""
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
        """Held by one process at a time: builds beside each other would falsify what each of them measures.

        Ends with the process, however that ends.
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
        """Every plan's folder and manifest, the last used first; those that cannot be read are left out."""
        found = []
        for path in self.root.glob(f"[!.]*/{MANIFEST}"):  # not what is being made
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
    """Read a plan. With `wanted`, its manifest is compared first. Raises PlanError: the field, found and expected."""
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
    """On the disk before it gets its name, or a power failure leaves a name without data."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap(made: Path, folder: Path) -> None:
    """`made` becomes `folder`. One that is there is moved away first, since a full folder cannot be renamed over."""
    while True:
        try:
            made.rename(folder)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
        else:
            return
        old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".old-"))
        with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
            folder.rename(old / "plan")
        shutil.rmtree(old, ignore_errors=True)
