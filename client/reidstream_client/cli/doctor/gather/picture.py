"""A picture of the camera's size, drawn: as pixels, and as a JPEG file.

Why an encoder here: an edge computer has none that Python could use, and a JPEG of flat blocks needs little of one.
Each block of 8 x 8 pixels has one level, so its only coefficient is the mean; the rest is one bit, "no more". Trap:
such a file is far smaller than a camera's, and quicker to decode. It shows that frames are answered, not how fast a
camera's would be.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_BLOCK: Final = 8
_BOXES: Final = 4
# Annex K of the JPEG standard, table K.3: how many codes of each length for differences of means, shortest first.
_LENGTHS: Final = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
_CATEGORIES: Final = bytes(range(12))
_END_OF_BLOCK: Final = "0"


def boxes_in(width: int, height: int) -> npt.NDArray[np.float32]:
    """Boxes of a person's shape, side by side: (4, 4) x1, y1, x2, y2."""
    wide, high = width / 16, height / 3
    left = np.arange(_BOXES) * (width / _BOXES) + wide
    corners = [left, np.full(_BOXES, high), left + wide, np.full(_BOXES, 2 * high)]
    return np.stack(corners, axis=1).astype(np.float32)


def pixels(width: int, height: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3), BGR: blocks of random colours, the same at each call."""
    levels = np.random.default_rng(0).integers(0, 256, (*_blocks(width, height), 3), dtype=np.uint8)
    return np.ascontiguousarray(levels.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[:height, :width])


def jpeg(width: int, height: int) -> bytes:
    """A grey baseline JPEG of random blocks, the same at each call."""
    levels = np.random.default_rng(0).integers(0, 256, _blocks(width, height), dtype=np.int16)
    codes = _codes()
    steps = np.diff(levels.ravel() - 128, prepend=0).tolist()
    bits = "".join([_code_of(step, codes) for step in steps])
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\x00" + bytes([8]) * 64),  # 8 times the mean is what the transform gives
            _segment(0xC0, b"\x08" + size + b"\x01\x01\x11\x00"),
            _segment(0xC4, b"\x00" + _LENGTHS + _CATEGORIES),
            _segment(0xC4, b"\x10" + bytes([1, *[0] * 15]) + b"\x00"),
            _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            scan,
            b"\xff\xd9",
        )
    )


def _blocks(width: int, height: int) -> tuple[int, int]:
    return -(-height // _BLOCK), -(-width // _BLOCK)


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _codes() -> list[str]:
    """The code of each category: counted up, and one digit longer where the lengths say so."""
    code, found = 0, []
    for length, count in enumerate(_LENGTHS, 1):
        for _ in range(count):
            found.append(format(code, f"0{length}b"))
            code += 1
        code <<= 1
    return found


def _code_of(step: int, codes: list[str]) -> str:
    """A difference of means: how many digits it has, then the digits; below zero, their complement."""
    digits = abs(step).bit_length()
    value = step if step >= 0 else step + (1 << digits) - 1
    return codes[digits] + (format(value, f"0{digits}b") if digits else "") + _END_OF_BLOCK
