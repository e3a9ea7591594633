"""System shared memory: regions that clients on this machine register, and name in the place of tensors.

Regions have owners. In Triton a region is everybody's: whoever knows its name may read it, write into it, and take it
away. Here it is its client's (by its token or certificate), or, where nothing tells clients apart, its user's on this
machine. Nobody else can use it, see it or unregister it, and two owners may have the same names.

Bounds: regions in all, bytes in all, and at most half of both for one owner. A region stays until it is unregistered,
also when its client is gone: the protocol has no word for leaving.

Trap: a client registers on one connection and asks on others, so a region cannot be its connection's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reidstream_server.core.sharing import Pool
from reidstream_server.errors import InvalidCall, NotOffered, NotPermitted, TooManyCalls
from reidstream_server.identity.access import Caller
from reidstream_server.transport.grpc_server.caller import on_this_machine
from reidstream_server.transport.local_users import LocalUsers

from .asked import SharedRange
from .offered import NOT_OFFERED
from .region_file import RegionFile, open_region

MAX_REGIONS = 128
"""Of all clients together. Each has an open file, and two when rows are written into it."""

_MAX_NAME = 256
_REGISTER = "SystemSharedMemoryRegister"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """`offset`: of the region in its file, and its size, as they were registered."""

    name: str
    key: str
    offset: int
    size_bytes: int
    file: RegionFile


@dataclass(frozen=True, slots=True)
class RegionRange:
    """A part of a region, which lies within it. Any thread."""

    named: SharedRange
    file: RegionFile

    def read(self) -> bytes:
        """A copy of it. Raises InvalidCall."""
        return self.file.read(self.named.offset, self.named.length)

    def write(self, data: bytes) -> None:
        """Into its beginning. Raises InvalidCall."""
        self.file.write(self.named.offset, data)


class Regions:
    """Of all owners. `most_bytes`: of all regions together. Event loop only."""

    def __init__(self, most_bytes: int) -> None:
        self._bytes: Pool[str] = Pool(most_bytes)
        self._count: Pool[str] = Pool(MAX_REGIONS)
        self._regions: dict[str, dict[str, Region]] = {}

    def of(self, owner: str) -> Sequence[Region]:
        """In the order in which they were registered."""
        return tuple(self._regions.get(owner, {}).values())

    def find(self, owner: str, name: str) -> Region | None:
        """One of an owner's; None if it has none of that name."""
        return self._regions.get(owner, {}).get(name)

    def add(self, owner: str, name: str, size_bytes: int, opened: Callable[[], Region]) -> None:
        """One more. Raises InvalidCall, NotPermitted, TooManyCalls."""
        if self.find(owner, name) is not None:
            raise InvalidCall(f"region {name!r} is registered already; unregister it first, or choose another name")
        half = self._bytes.most // 2
        if size_bytes > half:
            raise InvalidCall(
                f"region {name!r} has {size_bytes} bytes; the regions of one client may have {half}, half of "
                "max_kserve_region_bytes; register less"
            )
        mine, bytes_of_mine = self._count.of(owner), self._bytes.of(owner)
        if not self._count.fits(owner, 1) or bytes_of_mine + size_bytes > half or not self._has_room(size_bytes):
            raise TooManyCalls(
                f"{self._count.taken} regions of {self._bytes.taken} bytes are registered, {mine} of {bytes_of_mine} "
                f"bytes by this client; the limits are {MAX_REGIONS} and {self._bytes.most} "
                "(max_kserve_region_bytes), and one client gets at most half; unregister regions first"
            )
        region = opened()
        self._regions.setdefault(owner, {})[name] = region
        self._count.take(owner, 1)
        self._bytes.take(owner, size_bytes)

    def remove(self, owner: str, name: str) -> None:
        """One that is gone already is no error."""
        mine = self._regions.get(owner, {})
        region = mine.pop(name, None)
        if region is not None:
            self._count.give_back(owner, 1)
            self._bytes.give_back(owner, region.size_bytes)
        if not mine:
            self._regions.pop(owner, None)

    def _has_room(self, size_bytes: int) -> bool:
        return self._bytes.taken + size_bytes <= self._bytes.most


@dataclass(frozen=True, slots=True)
class DoorRegions:
    """What a door tells of its callers. `regions`: None where they are turned off."""

    regions: Regions | None
    users: LocalUsers

    def of(self, caller: Caller, peer: str) -> CallerRegions:
        """For one call. `peer`: its connection's other end, as gRPC writes it."""
        return CallerRegions(self, caller, peer)


class CallerRegions:
    """The regions of whoever calls, for one call. Nothing is looked up before it is asked for. Event loop only."""

    def __init__(self, door: DoorRegions, caller: Caller, peer: str) -> None:
        self._door = door
        self._caller = caller
        self._peer = peer

    def check(self) -> None:
        """Whether the caller may have regions here, before more of the call is read. Raises CallRefused."""
        self._owned(_REGISTER)

    def register(self, name: str, key: str, offset: int, size_bytes: int) -> None:
        """Raises CallRefused."""
        regions, owner = self._owned(_REGISTER)
        if not 0 < len(name) <= _MAX_NAME:
            raise InvalidCall(f"the name of the region has {len(name)} characters; it must have 1 to {_MAX_NAME}")
        if offset < 0 or size_bytes <= 0:
            raise InvalidCall(
                f"region {name!r}: offset is {offset} and byte_size {size_bytes}; they must be at least 0 and 1"
            )
        user = self._user()

        def opened() -> Region:
            file = open_region(name, key, offset, size_bytes, user)
            return Region(name=name, key=key, offset=offset, size_bytes=size_bytes, file=file)

        regions.add(owner, name, size_bytes, opened)

    def status(self, name: str) -> Sequence[Region]:
        """One of the caller's regions, or without a name all. Raises CallRefused."""
        regions, owner = self._owned("SystemSharedMemoryStatus")
        found = [region for region in regions.of(owner) if name in ("", region.name)]
        if name and not found:
            raise _unknown(name)
        return found

    def unregister(self, name: str) -> None:
        """One of the caller's regions, or without a name all. Raises CallRefused."""
        regions, owner = self._owned("SystemSharedMemoryUnregister")
        for one in [name] if name else [region.name for region in regions.of(owner)]:
            regions.remove(owner, one)

    def unregister_cuda(self) -> None:
        """There are none: clients ask for this beside the other, so it is no error. Raises CallRefused."""
        self._owned("CudaSharedMemoryUnregister")

    def range_of(self, named: SharedRange, what: str) -> RegionRange:
        """Where a tensor lies. `what`: for people. Raises CallRefused."""
        if self._door.regions is None:
            raise InvalidCall(
                f"{what} lies in shared memory; this server takes tensors in the message only, unless it is started "
                "with --kserve-shared-memory"
            )
        regions, owner = self._owned(_REGISTER)
        region = regions.find(owner, named.region)
        if region is None:
            raise _unknown(named.region)
        if named.offset < 0 or named.length <= 0 or named.offset + named.length > region.size_bytes:
            raise InvalidCall(
                f"{what}: {named.length} bytes at {named.offset} do not lie within region {named.region[:64]!r}, which "
                f"has {region.size_bytes}"
            )
        return RegionRange(named, region.file)

    def _owned(self, method: str) -> tuple[Regions, str]:
        """The regions, and whose they are who calls. Raises CallRefused."""
        regions = self._door.regions
        if regions is None:
            raise NotOffered(f"{method}: this server does not offer it; {NOT_OFFERED[method]}")
        if not on_this_machine(self._peer):
            raise NotPermitted(
                f"shared memory is for programs on the server's machine that connect to 127.0.0.1 or ::1, not for "
                f"{self._peer}; send tensors in the message"
            )
        if self._caller.client:
            return regions, f"client {self._caller.client}"
        return regions, f"user {self._user()}"

    def _user(self) -> int:
        """Raises NotPermitted."""
        user = self._door.users.user_of(self._peer)
        if user is None:
            raise NotPermitted(
                f"shared memory: the kernel does not tell whose the connection {self._peer} is; connect to 127.0.0.1 "
                "or ::1, and keep the connection open, or send tensors in the message"
            )
        return user


def _unknown(name: str) -> InvalidCall:
    return InvalidCall(f"this client has no region {name[:64]!r}; register it first (SystemSharedMemoryRegister)")
