"""Counts the groups of Huffman codes in a lossless WebP before libwebp makes a table of each.

Why: a group takes 3 bytes of a file and 6 kB of tables. 65,536 of them, in 300 kB, took 370 MB and half a second, and
libwebp has no bound. How many there can be is written behind the transforms, each of which has
a small image of its own, so these are read here (RFC 9649, 3.4 to 3.8) as libwebp reads them, and their pixels
forgotten.

Traps: Python reads a code in a microsecond, so it is only done where the file and the picture are large enough for more
groups than are decoded, and only so many codes are read. And a lossy picture's alpha is a lossless picture too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reidstream_engines.errors import InvalidImage, UnsupportedImage
from reidstream_engines.image import Lossless

MAX_GROUPS = 1024
"""The most groups of Huffman codes that are decoded. A photograph has 24, a thousand unlike pictures beside each other
311."""
READING_NS = 2_000_000
"""To read as far as the groups, where it is done: 0.3 to 3.6 milliseconds for photographs and drawings."""
_GROUP_BYTES = 6 * 1024  # five tables of 256 entries, and what is made of them
_WIDEST_GROUP = 20 * 1024  # with 2,048 colours in its cache
_CODE_BYTES = 64  # what the codes behind a byte of the file may add to a group's tables
_GROUP_BITS = 20  # the shortest group: five codes of one symbol
_UNREAD_GROUPS = 8192  # a group that no pixel uses takes a microsecond
_LEAST_BITS = 2  # the smallest block is 4 x 4 pixels
_MOST_CODES, _PIXELS_A_CODE = 40_000, 100  # libwebp: two transforms of 16,384 blocks, or of 16 x 16 pixels each

_SHARED = ((2, 3), (4, 2), (16, 1), (256, 0))  # with so few colours, so many pixels (a power of two) share one
_PREDICTOR, _COLOR, _SUBTRACT_GREEN = 0, 1, 2
_LITERALS, _LENGTHS, _DISTANCES = 256, 24, 40
_MOST_CACHE_BITS = 11
_LENGTH_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_REPEATS = ((2, 3), (3, 3), (7, 11))  # extra bits, and the least number, of the code lengths 16, 17 and 18
_REPEAT_LAST = 16
_FIRST_LENGTH = 8
_NEVER = 1 << 16
_WINDOW = 64  # bytes that are looked at together


def tables_bytes(width: int, height: int, part: Lossless) -> int:
    """What the tables of such a picture take at most."""
    groups = min(_most_groups(width, height), _listed(part), MAX_GROUPS)
    more = min((part.end - part.start) * _CODE_BYTES, groups * (_WIDEST_GROUP - _GROUP_BYTES))
    return groups * _GROUP_BYTES + more


def is_read(width: int, height: int, part: Lossless) -> bool:
    """Whether there can be more groups than are decoded."""
    listed = _listed(part)
    return listed > MAX_GROUPS and (listed > _UNREAD_GROUPS or _most_groups(width, height) > MAX_GROUPS)


def check_groups(data: bytes, width: int, height: int, part: Lossless) -> None:
    """Raise UnsupportedImage if there are more than `MAX_GROUPS`; InvalidImage if that cannot be read.

    `width` and `height` as they are stored.
    """
    if not is_read(width, height, part):
        return
    groups = _Reader(data, part, _MOST_CODES + width * height // _PIXELS_A_CODE).groups(width, height)
    if groups > MAX_GROUPS:
        raise UnsupportedImage(
            f"the lossless WebP has more than {MAX_GROUPS} groups of Huffman codes; encode it with less effort, or as "
            "a PNG"
        )


def _blocks(pixels: int, bits: int) -> int:
    return (pixels + (1 << bits) - 1) >> bits


def _most_groups(width: int, height: int) -> int:
    """How many groups can be used."""
    return _blocks(width, _LEAST_BITS) * _blocks(height, _LEAST_BITS)


def _listed(part: Lossless) -> int:
    """How many groups the bytes have room for."""
    return (8 * (part.end - part.start)) // _GROUP_BITS


class _Code(NamedTuple):
    """A prefix code: for the next bits, masked, the symbol's number times 16, and its length in bits."""

    table: Sequence[int]
    mask: int


class _Reader:
    """Bits of a lossless picture, the lowest first."""

    def __init__(self, data: bytes, part: Lossless, codes: int) -> None:
        self._data, self._end, self._codes = data, part.end, codes
        self._at = part.start
        self._bits = self._count = 0

    def groups(self, width: int, height: int) -> int:
        """How many groups the main picture has: as many as libwebp reads, or more than are decoded."""
        self._transforms(width, height)
        width = self._width
        self._cache_bits()
        if not self._read(1):
            return 1
        bits = _LEAST_BITS + self._read(3)
        across, down = _blocks(width, bits), _blocks(height, bits)
        return self._image(across, down, enough=MAX_GROUPS) + 1

    def _transforms(self, width: int, height: int) -> None:
        self._width = width
        seen = set[int]()
        while self._read(1):
            kind = self._read(2)
            if kind in seen:
                raise InvalidImage("the lossless WebP is damaged: it has a transform twice")
            seen.add(kind)
            if kind in (_PREDICTOR, _COLOR):
                bits = _LEAST_BITS + self._read(3)
                self._image(_blocks(self._width, bits), _blocks(height, bits))
            elif kind != _SUBTRACT_GREEN:
                colors = self._read(8) + 1
                self._image(colors, 1)
                self._width = _blocks(self._width, next(bits for most, bits in _SHARED if colors <= most))

    def _read(self, count: int) -> int:
        if self._count < count:
            self._fill()
            if self._count < count:
                raise InvalidImage("the lossless WebP is truncated")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._count -= count
        return value

    def _fill(self) -> None:
        more = self._data[self._at : min(self._at + _WINDOW, self._end)]
        self._bits |= int.from_bytes(more, "little") << self._count
        self._at += len(more)
        self._count += 8 * len(more)

    def _cache_bits(self) -> int:
        if not self._read(1):
            return 0
        bits = self._read(4)
        if not 1 <= bits <= _MOST_CACHE_BITS:
            raise InvalidImage(f"the lossless WebP is damaged: it claims a cache of {bits} bits")
        return bits

    def _image(self, width: int, height: int, *, enough: int = _NEVER) -> int:  # noqa: C901, PLR0915 - one loop, for speed
        """Read over an image of one group, or up to `enough`. Returns the largest number that a pixel's red and green
        make.
        """
        cache = self._cache_bits()
        greens = _LITERALS + _LENGTHS + (1 << cache if cache else 0)
        codes = [self._code(size) for size in (greens, _LITERALS, _LITERALS, _LITERALS, _DISTANCES)]
        (green, green_mask), (red, red_mask) = codes[0], codes[1]
        (blue, blue_mask), (alpha, alpha_mask), (distance, distance_mask) = codes[2:]
        left, largest, budget = width * height, 0, self._codes
        if not (green_mask or red_mask or blue_mask or alpha_mask) and green[0] < _LITERALS << 4:
            return red[0] >> 4 << 8 | green[0] >> 4
        bits, count = self._bits, self._count
        while left > 0:
            budget -= 1
            if count < 64:  # noqa: PLR2004 - the most bits of a pixel, or of a copy
                self._bits, self._count = bits, count
                self._fill()
                bits, count = self._bits, self._count
            entry = green[bits & green_mask]
            bits >>= entry & 15
            count -= entry & 15
            symbol = entry >> 4
            if symbol < _LITERALS:
                entry = red[bits & red_mask]
                bits >>= entry & 15
                count -= entry & 15
                value = entry >> 4 << 8 | symbol
                if value > largest:
                    largest = value
                    if value >= enough:
                        return value
                entry = blue[bits & blue_mask]
                bits >>= entry & 15
                count -= entry & 15
                entry = alpha[bits & alpha_mask]
                bits >>= entry & 15
                count -= entry & 15
                left -= 1
            elif symbol < _LITERALS + _LENGTHS:
                extra, base = _extra(symbol - _LITERALS)
                left -= base + (bits & ((1 << extra) - 1))
                bits >>= extra
                entry = distance[bits & distance_mask]
                further, _ = _extra(entry >> 4)
                bits >>= (entry & 15) + further
                count -= extra + (entry & 15) + further
            else:
                left -= 1
            if count < 0 or budget < 0:
                break
        self._bits, self._count, self._codes = bits, count, budget
        if count < 0:
            raise InvalidImage("the lossless WebP is truncated")
        if budget < 0:
            raise UnsupportedImage(
                "the lossless WebP has too many blocks for its size; encode it with less effort, or as a PNG"
            )
        return largest

    def _code(self, symbols: int) -> _Code:
        if self._read(1):
            two = self._read(1)
            first = self._read(8 if self._read(1) else 1)
            second = self._read(8) if two else first
            if first == second:
                return _Code((first << 4,), 0)
            low, high = sorted((first, second))
            if high >= symbols:
                raise InvalidImage("the lossless WebP is damaged: a code has a symbol that does not exist")
            return _Code((low << 4 | 1, high << 4 | 1), 1)
        of_lengths = [0] * len(_LENGTH_ORDER)
        for place in _LENGTH_ORDER[: self._read(4) + 4]:
            of_lengths[place] = self._read(3)
        table, mask = _code(of_lengths)
        left = 2 + self._read(2 + 2 * self._read(3)) if self._read(1) else symbols
        lengths: list[int] = []
        last = _FIRST_LENGTH
        while len(lengths) < symbols and left:
            left -= 1
            if self._count < mask.bit_length():
                self._fill()
            entry = table[self._bits & mask]
            self._read(entry & 15)
            length = entry >> 4
            if length < _REPEAT_LAST:
                lengths.append(length)
                last = length or last
                continue
            extra, least = _REPEATS[length - _REPEAT_LAST]
            lengths += [last if length == _REPEAT_LAST else 0] * (self._read(extra) + least)
        if len(lengths) > symbols:
            raise InvalidImage("the lossless WebP is damaged: a code has too many lengths")
        return _code(lengths)


def _extra(symbol: int) -> tuple[int, int]:
    """How many more bits a length or a distance has, and the least that it can be."""
    if symbol < 4:  # noqa: PLR2004 - those that have none
        return 0, symbol + 1
    extra = (symbol - 2) >> 1
    return extra, ((2 + (symbol & 1)) << extra) + 1


def _code(lengths: Sequence[int]) -> _Code:
    """The canonical code of these lengths."""
    used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    if len(used) == 1:
        return _Code((used[0][1] << 4,), 0)
    if sum(1 << (15 - length) for length, _ in used) != 1 << 15:
        raise InvalidImage("the lossless WebP is damaged: a code is not complete")
    longest = used[-1][0]
    table = [0] * (1 << longest)
    code = before = 0
    for length, symbol in used:
        code <<= length - before
        before = length
        first = int(f"{code:0{length}b}"[::-1], 2)
        table[first :: 1 << length] = [symbol << 4 | length] * (1 << (longest - length))
        code += 1
    return _Code(table, len(table) - 1)
