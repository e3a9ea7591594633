"""Memory that a client offers: who may, what is opened, and what a hostile one cannot do with it."""

from __future__ import annotations

import fcntl
import gc
import mmap
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from reidstream_engines.errors import InvalidImage
from reidstream_proto.v1 import contract, image_pb2, session_pb2
from reidstream_server.errors import SharedMemoryRefused
from reidstream_server.transport.embedding import shared_segment
from reidstream_server.transport.embedding.shared import SharedMemoryTerms, shared_memory
from reidstream_server.transport.embedding.shared_segment import FrameRanges, Segment, open_segment
from reidstream_server.transport.grpc_server.caller import on_this_machine

PAGE = mmap.PAGESIZE
NONCE = bytes(range(16))
SIZE = 16 * PAGE
FUTURE_WRITE = 0x10
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | FUTURE_WRITE
TERMS = SharedMemoryTerms(max_bytes=SIZE, max_copied_bytes=4 * PAGE)


class Memory:
    """A client's memfd, made and sealed as it should be unless said otherwise."""

    def __init__(self, *, seals: int = SEALS, header: bytes = contract.SEGMENT_MAGIC + NONCE, size: int = SIZE) -> None:
        self.file = os.memfd_create("client", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.file, size)
        self.map = mmap.mmap(self.file, size)
        self.map[: len(header)] = header
        if seals:
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, seals)

    def offer(self, **changes: object) -> session_pb2.SharedMemory:
        fields: dict[str, object] = {"pid": os.getpid(), "fd": self.file, "size_bytes": SIZE, "nonce": NONCE}
        return session_pb2.SharedMemory(**(fields | changes))  # type: ignore[arg-type]  # fields of many types

    def close(self) -> None:
        self.map.close()
        os.close(self.file)


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    made.close()


def taken(offer: session_pb2.SharedMemory, max_bytes: int = SIZE) -> Segment:
    return open_segment(offer, max_bytes=max_bytes, max_copied_bytes=TERMS.max_copied_bytes)


def refusal(offer: session_pb2.SharedMemory) -> str:
    """Why it is refused; and nothing of it stays open."""
    before = open_files()
    with pytest.raises(SharedMemoryRefused) as refused:
        taken(offer)
    assert open_files() == before
    return str(refused.value)


def open_files() -> int:
    gc.collect()  # what earlier tests have left in cycles is none of this one's
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def a_range(offset: int, length: int) -> image_pb2.SharedRange:
    return image_pb2.SharedRange(offset_bytes=offset, length_bytes=length)


@contextmanager
def opened(memory: Memory, max_bytes: int = SIZE) -> Iterator[Segment]:
    segment = taken(memory.offer(), max_bytes)
    try:
        yield segment
    finally:
        segment.close()


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        ("ipv4:127.0.0.1:50051", True),
        ("ipv4:127.8.9.1:1", True),
        ("ipv6:%5B::1%5D:50051", True),
        ("ipv6:[::1]:50051", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:50051", True),
        ("unix:/run/reidstream.sock", True),
        ("unix:", True),
        ("unix-abstract:name", True),
        ("ipv4:192.0.2.2:50051", False),
        ("ipv4:0.0.0.0:50051", False),
        ("ipv6:%5B2001:db8::1%5D:50051", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:50051", False),
        ("ipv6:%5B::ffff:192.0.2.2%5D:50051", False),
        ("ipv4:localhost:50051", False),
        ("vsock:2:5", False),
        ("127.0.0.1:50051", False),
        ("", False),
    ],
)
def test_only_loopback_and_unix_sockets_are_this_machine(peer: str, *, here: bool) -> None:
    """What it is not sure of is another machine."""
    assert on_this_machine(peer) is here


@pytest.mark.parametrize(
    ("peer", "max_bytes", "reason"),
    [("ipv4:192.0.2.2:5", SIZE, "needs a client on this machine"), ("unix:", 0, "turned off")],
)
def test_who_may_not_share_is_told_why(memory: Memory, peer: str, max_bytes: int, reason: str) -> None:
    """Another machine, and anybody where the operator does not want it."""
    opening = session_pb2.SessionOpen(shared_memory=memory.offer())
    terms = SharedMemoryTerms(max_bytes=max_bytes, max_copied_bytes=0)
    with shared_memory(opening, peer, terms) as shared:
        assert shared.segment is None
        assert shared.answer is not None
        assert not shared.answer.size_bytes
        assert reason in shared.answer.refusal


def test_nothing_is_answered_to_who_offers_nothing() -> None:
    """An older client hears nothing new."""
    with shared_memory(session_pb2.SessionOpen(), "unix:", TERMS) as shared:
        assert (shared.segment, shared.answer) == (None, None)


def test_memory_is_read_where_it_lies(memory: Memory) -> None:
    """What the client writes is there; and it cannot be written to from here."""
    with opened(memory) as segment:
        memory.map[PAGE : PAGE + 5] = b"first"
        pixels = FrameRanges(segment).pixels(a_range(PAGE, 5))
        assert pixels.fetch is None
        view = pixels.view
        assert bytes(view) == b"first"
        memory.map[PAGE : PAGE + 5] = b"later"
        assert bytes(view) == b"later"
        assert view.readonly


def test_a_view_outlives_its_segment(memory: Memory) -> None:
    """A frame may be staged longer than its session lasts; with the last view the mapping goes, and the file."""
    before = open_files()
    with opened(memory) as segment:
        memory.map[PAGE : PAGE + 5] = b"first"
        view = segment.view(PAGE, 5)
    assert bytes(view) == b"first"
    assert maps_of("client") == 2  # the client's own, and the view's
    del view
    assert maps_of("client") == 1
    assert open_files() == before


def maps_of(name: str) -> int:
    return Path("/proc/self/maps").read_text().count(f"/memfd:{name}")


def test_too_much_is_lowered(memory: Memory) -> None:
    """Like a window; what lies beyond is not there."""
    with opened(memory, 2 * PAGE) as segment:
        assert segment.size_bytes == 2 * PAGE
        with pytest.raises(InvalidImage, match=f"{2 * PAGE} bytes were agreed on"):
            FrameRanges(segment).pixels(a_range(PAGE, PAGE + 1))


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 0), (SIZE, 1), (1, SIZE), (2**64 - 1, 1), (2**64 - 1, 2**64 - 1), (0, 2**63)]
)
def test_a_range_lies_within_the_segment(memory: Memory, offset: int, length: int) -> None:
    """Also where the sum has more than 64 bits."""
    with opened(memory) as segment, pytest.raises(InvalidImage, match="shared range of"):
        FrameRanges(segment).pixels(a_range(offset, length))


def test_a_frame_names_no_more_than_all_of_it(memory: Memory) -> None:
    """A thousand crops of the whole segment would keep the event loop busy."""
    memory.map[:] = contract.SEGMENT_MAGIC + NONCE + bytes(SIZE - contract.SEGMENT_HEADER_BYTES)
    with opened(memory) as segment:
        ranges = FrameRanges(segment)
        ranges.pixels(a_range(0, SIZE - 1))
        ranges.pixels(a_range(0, 1))
        with pytest.raises(InvalidImage, match="in all"):
            ranges.pixels(a_range(0, 1))


def test_what_was_never_written_is_read_as_zeros_and_allocates_nothing(memory: Memory) -> None:
    """Else whoever reads a hole pays for its memory. A little is copied, much is refused."""
    with opened(memory) as segment:
        used = os.fstat(memory.file).st_blocks
        memory.map[PAGE] = 7
        for offset, length in ((PAGE, 2 * PAGE), (PAGE - 1, 3), (3 * PAGE, 1)):
            pixels = FrameRanges(segment).pixels(a_range(offset, length))
            assert len(pixels.view) == length
            if offset == PAGE - 1:
                assert pixels.fetch is None  # the header's page and the one that was written
            else:
                assert pixels.fetch is not None
                assert pixels.fetch() == bytes([7] * (offset == PAGE)) + bytes(length - (offset == PAGE))
        with pytest.raises(InvalidImage, match="never written"):
            FrameRanges(segment).pixels(a_range(PAGE, 5 * PAGE))
        ranges = FrameRanges(segment)
        ranges.pixels(a_range(2 * PAGE, 4 * PAGE))
        with pytest.raises(InvalidImage, match="never written"):
            ranges.pixels(a_range(2 * PAGE, 1))
        assert os.fstat(memory.file).st_blocks == used + PAGE // 512


def test_the_client_can_take_nothing_back(memory: Memory) -> None:
    """Neither by shrinking, which would be a SIGBUS here, nor by holes."""
    with pytest.raises(PermissionError):
        os.ftruncate(memory.file, 0)
    with pytest.raises(PermissionError):
        memory.map.madvise(mmap.MADV_REMOVE, 0, PAGE)


@pytest.mark.parametrize("seal", [fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_SEAL, FUTURE_WRITE])
def test_every_seal_is_needed(seal: int) -> None:
    """The refusal names the one that is missing."""
    memory = Memory(seals=SEALS & ~seal)
    names = {fcntl.F_SEAL_SHRINK: "SHRINK", fcntl.F_SEAL_GROW: "GROW", fcntl.F_SEAL_SEAL: "SEAL"}
    assert refusal(memory.offer()) == f"the memfd lacks seals: F_SEAL_{names.get(seal, 'FUTURE_WRITE')}"
    memory.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": bytes(16)}, "does not begin with the header and the nonce"),
        ({"nonce": b""}, "the nonce has 0 bytes"),
        ({"size_bytes": 31}, "size_bytes is 31; it must be at least 32"),
        ({"size_bytes": SIZE + 1}, f"size_bytes is {SIZE + 1}, but the memfd has {SIZE} bytes"),
        ({"fd": 2**31}, "there is no file"),
        ({"pid": 0}, "there is no file"),
        ({"pid": 2**32 - 1}, "there is no file"),
    ],
)
def test_an_offer_must_be_true(memory: Memory, changes: dict[str, object], reason: str) -> None:
    """Whatever is named must be there, and be the client's."""
    assert reason in refusal(memory.offer(**changes))


def test_other_programs_memory_is_not_read() -> None:
    """Zeros for a nonce would fit much memory of others, were it not for the header."""
    memory = Memory(header=bytes(32))
    assert "does not begin with the header" in refusal(memory.offer(nonce=bytes(16)))
    memory.close()


def test_only_a_memfd_is_opened(memory: Memory, tmp_path: Path) -> None:
    """Whatever else has a number: opening a pipe may wait, and opening a device may act."""
    (tmp_path / "memfd:client").write_bytes(contract.SEGMENT_MAGIC + NONCE + bytes(SIZE))
    with ExitStack() as files:
        numbers = [*os.pipe(), os.open(tmp_path / "memfd:client", os.O_RDWR), os.open("/dev/zero", os.O_RDWR)]
        numbers += [os.open(tmp_path, os.O_RDONLY), os.memfd_create("huge", os.MFD_HUGETLB)]
        numbers += [os.open("/proc/self/maps", os.O_RDONLY), os.eventfd(0)]
        for number in numbers:
            files.callback(os.close, number)
        for number in numbers:
            assert (
                refusal(memory.offer(fd=number))
                == f"file {number} of process {os.getpid()} is not a memfd with pages of the usual size"
            )


def test_a_lease_does_not_make_the_server_wait(memory: Memory) -> None:
    """A file whose holder must be asked first is not waited for."""
    handler = signal.signal(signal.SIGIO, signal.SIG_IGN)  # what the kernel tells the holder with
    made = os.memfd_create("leased", os.MFD_ALLOW_SEALING)
    leased = os.open(f"/proc/self/fd/{made}", os.O_RDWR)
    os.close(made)
    fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    assert "Resource temporarily unavailable" in refusal(memory.offer(fd=leased))
    os.close(leased)
    signal.signal(signal.SIGIO, handler)


def test_another_users_process_is_none_of_ours(memory: Memory) -> None:
    """The kernel refuses, and the reason says what would help."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        said = refusal(memory.offer(pid=1, fd=0))
    finally:
        if me == 0:
            os.seteuid(me)
    assert "the server may not open file 0 of process 1" in said
    assert "as the same user, or as root" in said


def test_a_closed_segment_gives_nothing(memory: Memory) -> None:
    """Whoever looks into it while its session ends finds an end, not a crash, and no fault of ours."""
    segment = taken(memory.offer())
    segment.close()
    segment.close()
    with pytest.raises(InvalidImage, match="session is over"):
        segment.view(0, 1)
    with pytest.raises(InvalidImage, match="session is over"):
        segment.fetch(0, 1)


def test_a_copy_is_fetched_from_the_same_file_after_the_session(memory: Memory) -> None:
    """A frame may wait longer than its session lasts, and the file's number may belong to another file by then."""
    before = open_files()
    with opened(memory) as segment:
        memory.map[PAGE] = 7
        pixels = FrameRanges(segment).pixels(a_range(PAGE, 2 * PAGE))
    del segment
    others = [os.open("/dev/zero", os.O_RDONLY) for _ in range(3)]
    assert pixels.fetch is not None
    assert pixels.fetch() == b"\7" + bytes(2 * PAGE - 1)
    for number in others:
        os.close(number)
    del pixels
    assert open_files() == before


def test_what_was_written_is_not_looked_for_again(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's slots are the same ones for every frame; and what is missing costs one short look."""
    looks: list[int] = []
    mincore = shared_segment._libc.mincore

    def counted(address: int, length: int, found: object) -> int:
        looks.append(length // PAGE)
        return int(mincore(address, length, found))

    monkeypatch.setattr(shared_segment, "_LOOK_PAGES", 4)
    monkeypatch.setattr(shared_segment._libc, "mincore", counted)
    memory.map[: 10 * PAGE] = contract.SEGMENT_MAGIC + NONCE + bytes(10 * PAGE - contract.SEGMENT_HEADER_BYTES)
    with opened(memory) as segment:
        assert segment.written(0, 10 * PAGE)
        assert looks == [4, 4, 2]
        assert segment.written(PAGE, 9 * PAGE)
        assert looks == [4, 4, 2]
        for _ in range(2):
            assert not segment.written(0, SIZE)
        assert looks == [4, 4, 2, 4, 4]
        memory.map[10 * PAGE :] = bytes(6 * PAGE)
        assert segment.written(0, SIZE)
