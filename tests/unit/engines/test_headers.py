"""headers: format and size by the bytes alone, and a clear refusal of everything else."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageFile

from reidstream_engines.errors import ImageError, InvalidImage, UnsupportedImage
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import ImageFormat
from reidstream_engines.jpeg_header import MAX_JUNK, MAX_SEGMENTS

JPEG, PNG, WEBP = ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ImageFile.MAXBLOCK = 1 << 20  # Pillow's JPEG encoder cannot go on in a second buffer when it optimises


def encode(suffix: str, *parameters: int, width: int = 37, height: int = 21) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    done, data = cv2.imencode(suffix, pixels, list(parameters))
    assert done
    return data.tobytes()


def save(kind: str, mode: str = "RGB", **options: object) -> bytes:
    target = io.BytesIO()
    PilImage.new(mode, (37, 21), 1).save(target, kind, **options)
    return target.getvalue()


def save_frames(kind: str) -> bytes:
    target = io.BytesIO()
    frames = [PilImage.new("RGB", (37, 21), (shade, 0, 0)) for shade in (0, 120, 240)]
    frames[0].save(target, kind, save_all=True, append_images=frames[1:])
    return target.getvalue()


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    return b"\xff\xd8" + b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)


def frame_header(marker: int = 0xC0, *, bits: int = 8, height: int = 21, width: int = 37, components: int = 3) -> bytes:
    return jpeg((marker, struct.pack(">BHHB", bits, height, width, components) + bytes(3 * components)))


def png(*chunks: tuple[bytes, bytes], depth: int = 8, width: int = 37, height: int = 21) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (header, *chunks)
    )


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


REAL = {
    "jpeg": (JPEG, encode(".jpg")),
    "progressive jpeg": (JPEG, encode(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    "jpeg with restarts": (JPEG, encode(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1)),
    "grey jpeg": (JPEG, save("JPEG", "L")),
    "jpeg with exif, icc and a comment": (
        JPEG,
        save("JPEG", exif=b"Exif\0\0" + bytes(99), icc_profile=bytes(150_000), comment=b"hi"),
    ),
    "png": (PNG, encode(".png")),
    "palette png": (PNG, save("PNG", "P")),
    "one-bit png": (PNG, save("PNG", "1")),
    "grey png": (PNG, save("PNG", "L")),
    "png with alpha": (PNG, save("PNG", "RGBA")),
    "interlaced png with a profile": (PNG, save("PNG", icc_profile=bytes(3000), dpi=(72, 72))),
    "lossy webp": (WEBP, encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 70)),
    "lossless webp": (WEBP, encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 101)),
    "webp with alpha": (WEBP, save("WEBP", "RGBA")),
    "webp with exif": (WEBP, save("WEBP", exif=b"Exif\0\0" + bytes(99))),
}


class TestSizes:
    @pytest.mark.parametrize("kind", REAL)
    def test_real_files(self, kind: str) -> None:
        """As their encoders wrote them; the data is passed on, not copied."""
        image_format, data = REAL[kind]
        image = parse_encoded(data)
        assert (image.format, image.width, image.height) == (image_format, 37, 21)
        assert image.data is data

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
    @pytest.mark.parametrize("size", [(1, 1), (1, 999), (1000, 1), (641, 479)])
    def test_sizes(self, suffix: str, size: tuple[int, int]) -> None:
        """Width is width."""
        image = parse_encoded(encode(suffix, width=size[0], height=size[1]))
        assert (image.width, image.height) == size

    @pytest.mark.parametrize(
        ("data", "size"),
        [
            (frame_header(width=65_535, height=65_535), (65_535, 65_535)),
            (png(width=100_000, height=100_000), (100_000, 100_000)),
            (png(width=2**32 - 1, height=2**32 - 1), (2**32 - 1, 2**32 - 1)),
            (webp(b"VP8L", b"\x2f" + (2**28 - 1).to_bytes(4, "little")), (16_384, 16_384)),
            (webp(b"VP8X", bytes(4) + b"\xff" * 6), (2**24, 2**24)),
        ],
    )
    def test_a_huge_claim_is_only_a_number(self, data: bytes, size: tuple[int, int]) -> None:
        """Nothing is allocated for it; whoever asked compares it with a limit."""
        image = parse_encoded(data)
        assert (image.width, image.height) == size

    def test_the_scaling_bits_of_a_webp_are_no_size(self) -> None:
        """The upper two bits of a VP8 size tell a player how to scale."""
        body = bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 37 | 0x4000, 21 | 0xC000)
        image = parse_encoded(webp(b"VP8 ", body))
        assert (image.width, image.height) == (37, 21)

    @pytest.mark.parametrize(
        "lead",
        [b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0", b"\xff\xd7", b"\xff\xfe\x00\x02", b"\xff\xfe\x00\x04\xff\xc0"],
    )
    def test_what_may_stand_before_a_frame_header(self, lead: bytes) -> None:
        """Fill bytes, markers without a length, empty comments, and comments that look like a frame header."""
        data = frame_header()
        image = parse_encoded(data[:2] + lead + data[2:])
        assert (image.width, image.height) == (37, 21)

    def test_junk_before_a_marker_is_left_out(self) -> None:
        """Nobody after the parser sees it. What only looks like a marker, a coded 0xFF, is junk as well."""
        clean = REAL["jpeg"][1]
        for marker in (0xDB, 0xC0, 0xC4, 0xDA):
            at = clean.index(bytes([0xFF, marker]))
            image = parse_encoded(clean[:at] + b"\x07\xff\x00\x08" + clean[at:])
            assert image.data.endswith(clean[clean.index(b"\xff\xda") :])
            assert b"\x07\xff\x00\x08" not in image.data
            assert image.layout == parse_encoded(clean).layout is not None

    def test_a_png_is_looked_at_as_far_as_its_pixels(self) -> None:
        """An animation's chunk behind them animates nothing."""
        image = parse_encoded(png((b"tEXt", b"a"), (b"IDAT", b"pixels"), (b"acTL", bytes(8))))
        assert (image.width, image.height) == (37, 21)

    @pytest.mark.parametrize(
        ("data", "enough"),
        [
            (frame_header(), 12),  # up to the number of components
            (webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a\x25\0\x15\0" + bytes(20)), 30),
            (webp(b"VP8L", b"\x2f\x24\x00\x05\x00" + bytes(20)), 25),
            (webp(b"VP8X", bytes(4) + b"\x24\0\0\x14\0\0" + bytes(20)), 30),
            (png((b"IDAT", b"pixels")), 33),
        ],
    )
    def test_how_much_is_enough(self, data: bytes, enough: int) -> None:
        """Not a byte more than the size's own header is asked for."""
        image = parse_encoded(data[:enough])
        assert (image.width, image.height) == (37, 21)
        with pytest.raises(InvalidImage, match=r"ends within its (frame )?header"):
            parse_encoded(data[: enough - 1])

    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    def test_png_depths(self, depth: int) -> None:
        """All that are decoded to 8 bits."""
        image = parse_encoded(png(depth=depth))
        assert (image.width, image.height) == (37, 21)

    def test_what_a_webp_may_have_besides(self) -> None:
        """A profile, alpha, EXIF, XMP, and bits that have no meaning yet; all flags but the animation's."""
        image = parse_encoded(webp(b"VP8X", b"\xfd\0\0\0\x24\0\0\x14\0\0"))
        assert (image.width, image.height) == (37, 21)

    @settings(deadline=None, max_examples=60)
    @given(st.data(), st.integers(1, 200), st.integers(1, 200))
    def test_pillow_agrees(self, data: st.DataObject, width: int, height: int) -> None:
        """On files of any size, kind and option that another encoder writes."""
        kind, modes, options = data.draw(st.sampled_from(WRITERS))
        mode, chosen = data.draw(st.sampled_from(modes)), data.draw(st.fixed_dictionaries({}, optional=options))
        target = io.BytesIO()
        PilImage.effect_noise((width, height), 80).convert(mode).save(target, kind.name, **chosen)
        image = parse_encoded(target.getvalue())
        with PilImage.open(target) as opened:
            assert (image.format.name, image.width, image.height) == (opened.format, *opened.size)
            assert (image.width, image.height) == (width, height)

    @pytest.mark.needs("shared-data")
    def test_every_frame_of_the_test_data(self, shared_data: Path) -> None:
        """Real cameras' JPEGs, with the sizes that the data's README names."""
        paths = sorted((shared_data / "frames").glob("*/img1/*.jpg"))
        assert len(paths) > 30
        for path in paths:
            image = parse_encoded(path.read_bytes())
            assert (image.width, image.height) == ((640, 480) if "MOT17-05" in str(path) else (1920, 1080))


METADATA = st.integers(0, 70_000).map(bytes)
WRITERS = (
    (
        JPEG,
        ("RGB", "L"),
        {
            "progressive": st.booleans(),
            "optimize": st.booleans(),
            "subsampling": st.sampled_from(("4:4:4", "4:2:2", "4:2:0")),
            "restart_marker_blocks": st.integers(1, 9),
            "comment": st.integers(0, 65_000).map(b"\xff".__mul__),
            "exif": st.integers(0, 60_000).map(lambda size: b"Exif\0\0" + bytes(size)),
            "icc_profile": METADATA,
        },
    ),
    (PNG, ("RGB", "L", "1", "P", "LA", "RGBA"), {"compress_level": st.integers(0, 2), "icc_profile": METADATA}),
    (
        WEBP,
        ("RGB", "RGBA"),
        {"lossless": st.booleans(), "quality": st.integers(0, 100), "method": st.just(0), "icc_profile": METADATA},
    ),
)
UNSUPPORTED = {
    "CMYK": save("JPEG", "CMYK"),
    "2 components": frame_header(components=2),
    "12 bits": frame_header(0xC1, bits=12),
    "lossless": frame_header(0xC3),
    "hierarchical": frame_header(0xC5),
    "arithmetic": frame_header(0xC9),
    "arithmetic-coded lossless": frame_header(0xCB),
    "16 bits": save("PNG", "I;16"),
    "PNG is animated": save_frames("PNG"),
    "animated; send": png((b"tEXt", bytes(70)), (b"acTL", bytes(8))),
    "WebP is animated": save_frames("WEBP"),
    "GIF": save("GIF", "P"),
    "BMP": save("BMP"),
    "TIFF": save("TIFF"),
    "AVIF": b"\x00\x00\x00\x20ftypavif" + bytes(20),
    "HEIC": b"\x00\x00\x00\x20ftypheix" + bytes(20),
    "HEIF": b"\x00\x00\x00\x20ftypmif1" + bytes(20),
    "JPEG XL": b"\xff\x0a" + bytes(20),
    "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    "PDF": b"%PDF-1.7",
}

INVALID = {
    "empty": b"",
    "unknown format": b"\x00\x01garbage" * 40,
    r"begins with 50 35 20 33 37 20 32 31\);": b"P5 37 21 255\n" + bytes(777),
    "PNG is truncated: it ends within its header": png()[:32],
    "does not begin with its header": png()[:8] + b"\x00\x00\x00\x0dIHDX" + png()[16:],
    "claims 3 bits": png(depth=3),
    "PNG header claims 0 x 21": png(width=0),
    "PNG has no pixels within": png(*[(b"tEXt", b"")] * MAX_SEGMENTS),
    "JPEG header claims 37 x 0": frame_header(height=0),
    "JPEG header claims 0 x 21": frame_header(width=0),
    "JPEG is truncated: it ends before its frame header": b"\xff\xd8",
    "JPEG is truncated: it ends within its frame header": frame_header()[:11],
    "no frame header before its image data": jpeg((0xFE, b"hi"), (0xDA, bytes(8))),
    "segment E0 of 1 bytes": b"\xff\xd8\xff\xe0\x00\x01" + bytes(40),
    "JPEG has no frame header before": jpeg() + b"\xff\xd9" + frame_header()[2:],
    "at byte 2 another picture begins": b"\xff\xd8" + frame_header(),
    "no segment begins within 4096 bytes from byte 8 on": jpeg((0xFE, b"hi")) + bytes(MAX_JUNK) + frame_header()[2:],
    "no segment begins within 96 bytes from byte 4010 on": b"\xff\xd8"
    + (bytes(2_000) + b"\xff\xfe\0\2") * 2
    + bytes(99),
    "within 1024 segments": jpeg(*[(0xFE, b"")] * MAX_SEGMENTS) + frame_header()[2:],
    "begins with an unknown chunk": webp(b"ANMF", bytes(30)),
    "WebP is truncated: it ends within its header": webp(b"VP8L", b"\x2f\x01\x02\x03"),
    "does not begin with a key frame": webp(b"VP8 ", bytes(30)),
    "WebP is damaged: it does not begin with a key frame": webp(b"VP8 ", b"\x01\x00\x00\x9d\x01\x2a" + bytes(30)),
    "lossless header": webp(b"VP8L", bytes(30)),
    "lossless header is not valid": webp(b"VP8L", b"\x2f\x00\x00\x00\x20" + bytes(30)),
}


class TestRefusals:
    @pytest.mark.parametrize("words", UNSUPPORTED)
    def test_kinds_that_are_refused(self, words: str) -> None:
        """Whole and well-formed, so that the answer is what to send instead, by name."""
        with pytest.raises(UnsupportedImage, match=words):
            parse_encoded(UNSUPPORTED[words])

    @pytest.mark.parametrize(
        ("words", "markers"),
        [
            ("lossless; send a baseline or progressive one", [0xC3]),
            ("hierarchical; send", [0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF]),
            ("arithmetic-coded; send", [0xC9, 0xCA]),
            ("arithmetic-coded lossless; send", [0xCB]),
        ],
    )
    def test_every_other_kind_of_jpeg(self, words: str, markers: list[int]) -> None:
        """By the marker of its frame header, as ITU-T T.81 numbers them."""
        for marker in markers:
            with pytest.raises(UnsupportedImage, match=f"the JPEG is {words}"):
                parse_encoded(frame_header(marker))

    @pytest.mark.parametrize(
        ("name", "begin"),
        [
            ("TIFF", b"II*\0"),
            ("TIFF", b"MM\0*"),
            ("AVIF", b"\0\0\0\x20ftypavis"),
            ("HEIC", b"\0\0\0\x20ftyphevc"),
            ("HEIF", b"\0\0\0\x20ftypmsf1"),
            ("JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n"),
        ],
    )
    def test_formats_that_begin_in_several_ways(self, name: str, begin: bytes) -> None:
        """Each by its name, and what to send instead."""
        with pytest.raises(UnsupportedImage, match=f"{name} images are not supported; send JPEG, PNG or WebP"):
            parse_encoded(begin + bytes(40))

    @pytest.mark.parametrize("depth", [0, 3, 5, 7, 9, 32, 255])
    def test_png_depths_that_do_not_exist(self, depth: int) -> None:
        """Damaged, not unsupported."""
        with pytest.raises(InvalidImage, match=f"claims {depth} bits"):
            parse_encoded(png(depth=depth))

    def test_half_of_a_webp_signature(self) -> None:
        """Is none."""
        with pytest.raises(InvalidImage, match="unknown format"):
            parse_encoded(b"XXXX\x20\0\0\0WEBPVP8X" + bytes(40))

    @pytest.mark.parametrize("words", INVALID)
    def test_what_is_no_picture(self, words: str) -> None:
        """Each with its own reason."""
        with pytest.raises(InvalidImage, match=words):
            parse_encoded(INVALID[words])

    @pytest.mark.parametrize("kind", REAL)
    def test_truncated_anywhere(self, kind: str) -> None:
        """A file cut at any byte keeps its size, once its header is whole, or is InvalidImage."""
        data = REAL[kind][1]
        sized = 0
        for length in sorted({*range(min(len(data), 700)), *range(0, len(data), 997), len(data)}):
            try:
                image = parse_encoded(data[:length])
            except InvalidImage:
                assert sized == 0, "the header was whole before"
            else:
                sized += 1
                assert (image.width, image.height) == (37, 21)
        assert sized

    @pytest.mark.parametrize(
        "hostile",
        [
            b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1_000_000,
            b"\xff\xd8" + b"\x07\xff\x01" * 1_000_000 + frame_header()[2:],
            png() + b"\x00\x00\x00\x00tEXt1234" * 300_000,
        ],
    )
    def test_work_is_bounded_whatever_the_size(self, hostile: bytes) -> None:
        """Megabytes of the shortest segments, or of junk between them, are given up after a thousand of them."""
        with pytest.raises(InvalidImage, match=f"within {MAX_SEGMENTS}"):
            parse_encoded(hostile)

    @settings(deadline=None, max_examples=300)
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.tuples(
                st.sampled_from(
                    [b"\xff\xd8", PNG_SIGNATURE, png()[:33], *(webp(k, b"")[:20] for k in (b"VP8 ", b"VP8L", b"VP8X"))]
                ),
                st.binary(max_size=100),
            ).map(b"".join),
            st.tuples(
                st.sampled_from([data for _, data in REAL.values()]),
                st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6),
            ).map(lambda pair: changed(*pair)),
        )
    )
    @example(b"\xff\xd8\xff")
    @example(b"RIFF\x00\x00\x00\x00WEBP")
    def test_any_bytes(self, data: bytes) -> None:
        """A size of at least 1 x 1 or an ImageError; never another exception."""
        try:
            image = parse_encoded(data)
        except ImageError:
            return
        assert min(image.width, image.height) >= 1


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    content = bytearray(data)
    for at, value in changes:
        content[at % len(content)] = value
    return bytes(content)
