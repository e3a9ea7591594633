"""Pictures that are small to send and slow to decode."""

from __future__ import annotations

from .messages import HEIGHT, WIDTH, opening, picture_frame, png_bomb, scan_bomb
from .target import Target, again, answer_of, channel_to, stream_on, together


async def scans(target: Target, *, scans: int = 4000, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Two cameras with progressive JPEGs of 40 megapixels and 4,000 scans, 334 kB each.

    Aims at: cost that no header's size shows. Each scan is 64 bytes, and walks through all blocks of the picture. All
    staging threads stay inside the decoder, and count as busy cores.
    """
    await _cameras(target, scan_bomb(scans, width, height), window=1)


async def large_pngs(target: Target, *, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Two cameras with PNGs of 40 megapixels in 117 kB, a full window each.

    Aims at: fairness that counts boxes. Each frame has one box, and costs as much decoding as a hundred others.
    """
    await _cameras(target, png_bomb(width, height), window=16)


async def _cameras(target: Target, file: bytes, *, window: int) -> None:
    async def camera(number: int) -> None:
        await again(target, lambda: _stream(target, f"attacker-{number}", file, window))

    await together(2, camera)


async def _stream(target: Target, name: str, file: bytes, window: int) -> None:
    """Keep a window full of the picture."""
    async with channel_to(target) as channel:
        call = stream_on(channel)
        await call.write(opening(name, window=window))
        await call.read()
        sent = answered = 0
        while True:
            while sent - answered < window:
                sent += 1
                await call.write(picture_frame(sent, file))
                target.became["frames sent"] += 1
            answer = await answer_of(call)
            if answer is None:
                target.became["stream ended"] += 1
                return
            answered += 1
            error = answer.frame_result.error
            target.became[f"answered {error.message[:60]!r}" if error.reason else "embedded"] += 1
