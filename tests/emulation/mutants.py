"""Faults planted in the kernel's text: each must be found by a few dozen crops.

Why: tests that pass prove little if nothing could make them fail. A mutant is one exact piece of one file, replaced; it
is judged by the rules of the other tests here. Those that only a sanitizer sees say so.

Left out, because they change nothing: the area average of an exact halving (linear gives the same levels), the ends of
PIL's second pass (weights outside the support are 0), and row addresses in 64 bits (seen only in frames over 2 GiB).
"""

from __future__ import annotations

from dataclasses import dataclass

from reidstream_engines.spec import Resize

LINEAR, CUBIC, PIL, PIL_CUBIC = (
    Resize.OPENCV_BILINEAR,
    Resize.OPENCV_BICUBIC,
    Resize.PIL_BILINEAR,
    Resize.PIL_BICUBIC,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old`, which occurs once in `file`, becomes `new`; seen by crops of this resize."""

    name: str
    file: str
    old: str
    new: str
    resize: Resize = LINEAR
    sanitized: bool = False


_TAKEN = """sums[PLACE];
        const int row = clamp(number, 0, region.height - 1);"""
_TAKEN_PIXELS = """int number) {
        const int row = clamp(number, 0, region.height - 1);
#pragma unroll"""
_FRAME = [
    ("row without the box's top", "(unsigned int)(region.y + row)", "(unsigned int)row"),
    ("rows by width", "(unsigned int)region.pitch", "(unsigned int)region.frame_width"),
    ("sum that overflows", "start <= whole - length", "start + length <= whole"),
    ("box of negative corner", "return start >= 0 && length > 0", "return length > 0"),
    ("empty box", "length > 0 && ", ""),
    ("box one too long", "start <= whole - length", "start <= whole - length + 1"),
    (
        "height against width",
        "lies_within(crop.y, crop.height, frame.height)",
        "lies_within(crop.y, crop.height, frame.width)",
    ),
    ("steps unchecked", "return error > -0.5 && error < 0.5;", "return error == error || true;"),
    ("placement unchecked", "lies_within(crop.left, crop.fit_width, spec.width) && ", ""),
    ("chroma by luma's pitch", "* frame.chroma_pitch", "* frame.pitch"),
    ("chroma rows not halved", "((region.y + row) >> 1) *", "(region.y + row) *"),
    ("chroma row without the box's top", "((region.y + row) >> 1) *", "(row >> 1) *"),
    ("chroma pairs split", "(x & ~1);", "x;"),
    ("chroma columns halved", "(x & ~1);", "(x >> 1);"),
    ("V is U", "__ldg(pair + 1)", "__ldg(pair)"),
    ("luma under black", "(light > 0 ? light : 0)", "light"),
    ("colours wrap", "return clamp(sum >> frame.shift, 0, 255);", "return sum >> frame.shift & 255;"),
    ("green of red's weight", "frame.green_v * v", "frame.red_v * v"),
    ("channels swapped", "__ldg(line + 3 * x + c)", "__ldg(line + 3 * x + 2 - c)"),
    ("grey not rounded", "(sum + (1 << (spec.gray_shift - 1))) >> spec.gray_shift", "sum >> spec.gray_shift"),
    ("grey of swapped colours", "red_first = region.format == FORMAT_RGB", "red_first = region.format != FORMAT_RGB"),
    ("grey column without the box's left", "row_of(region, row) + region.x + column", "row_of(region, row) + column"),
]
_TILE = [
    ("planes not swapped", "plane = swapped ? -(int)whole : (int)whole", "plane = (int)whole"),
    ("first plane", "(swapped ? (PLANES - 1) * whole : 0)", "0"),
    ("plane stride", "(unsigned int)spec.height * width", "width * width"),
    ("deviation of the first channel", ": spec.factor[c]", ": spec.factor[0]"),
    ("mean of the first channel", ": spec.offset[c]", ": spec.offset[0]"),
    ("deviation of another channel", "spec.factor[PLANES - 1 - c]", "spec.factor[c]"),
    ("mean of another channel", "spec.offset[PLANES - 1 - c]", "spec.offset[c]"),
    ("halves swapped", "halves(value[0], value[1])", "halves(value[1], value[0])"),
]
_OPENCV = [
    ("weights cut", "weight[1] = __float2int_rn(x * WEIGHT_ONE);", "weight[1] = (int)(x * WEIGHT_ONE);"),
    ("weights of ten bits", "const int WEIGHT_ONE = 2048", "const int WEIGHT_ONE = 1024"),
    ("corners, not centres", "((index + 0.5) * step - 0.5)", "(index * step)"),
    ("positions of a float step", "((index + 0.5) * step - 0.5)", "((index + 0.5f) * (float)step - 0.5f)"),
    ("left border", "(pixel < 0 || pixel >= size - 1)", "(pixel >= size - 1)"),
    ("right border", "(pixel < 0 || pixel >= size - 1)", "(pixel < 0)"),
    ("rows moved at the border", "crop.step_y, 0, coarse)", "crop.step_y, region.height, coarse)"),
    ("final rounding", "+ (2 << 16)) >> 16", "+ (1 << 16)) >> 16"),
    (
        "one product instead of two",
        "((sum[0] * weight[0] + (2 << 16)) >> 16) + (sum[1] * weight[1] >> 16)",
        "(sum[0] * weight[0] + sum[1] * weight[1] + (2 << 16)) >> 16",
    ),
    ("sums rounded", "return sum >> 4;", "return (sum + 8) >> 4;"),
    ("lower border", _TAKEN, _TAKEN.replace("height - 1", "height")),
    ("upper border", _TAKEN, _TAKEN.replace("clamp(number, 0, region.height - 1)", "number")),
    ("lower border of pixels", _TAKEN_PIXELS, _TAKEN_PIXELS.replace("height - 1", "height")),
    ("weights not turned", "odd ? row.weight[1] : row.weight[0]", "row.weight[0]"),
    ("rows in each other's place", "if (!(held & 1)) {", "if (held & 1) {"),
    ("a row too many", "if (held >= first) return;", ""),
    ("stale rows", "held < row.first - TAPS ? row.first - TAPS : held", "held < row.first - 1 ? row.first - 1 : held"),
    (
        "column past the crop",
        "clamp(columns[j].first + t, 0, region.width - 1)",
        "clamp(columns[j].first + t, 0, region.width)",
    ),
    ("words before the frame", "region.x + lowest >= 1", "region.x + lowest >= 0"),
    ("words behind the frame", "region.frame_width - 4", "region.frame_width - 2"),
    ("words before the first row", "(region.y + first > 0 ||", "(region.y + first >= 0 ||"),
    ("words behind the last row", "last < region.frame_height - 1 ||", "last < region.frame_height ||"),
    ("words of the last row", "tile.y + tile.rows - 1 - crop.top) + 1", "tile.y + tile.rows - 1 - crop.top) - 1"),
    ("words of narrow frames", " && region.pitch >= 12 &&", " &&"),
    ("second word twice", "__ldg(word + 2)", "second"),
    ("blue of the other pixel", "0x4130", "0x1430"),
    ("red of the other pixel", "0x5252", "0x2525"),
    (
        "weights the wrong way",
        "(unsigned int)weight[0] | (unsigned int)weight[1] << 16",
        "(unsigned int)weight[1] | (unsigned int)weight[0] << 16",
    ),
    ("padding on the left only", "if (index < 0 || index >= count) return taps;", "if (index < 0) return taps;"),
]
_CUBIC = [
    ("another cubic", "const float a = -0.75f", "const float a = -0.5f"),
    ("taps a pixel off", "pixel - (TAPS / 2 - 1)", "pixel - TAPS / 2"),
    ("levels cut", "clamp(__float2int_rn(total), 0, 255)", "clamp((int)total, 0, 255)"),
    ("levels wrap", "clamp(__float2int_rn(total), 0, 255)", "__float2int_rn(total) & 255"),
    ("small sources", "const int IPP_SIDE = 4", "const int IPP_SIDE = 1"),
    ("a row forgotten", "t + 1 < TAPS; ++t) {", "t + 2 < TAPS; ++t) {"),
]
_PIL = [
    ("first pixel", "(int)(weights.center - support + 0.5)", "(int)(weights.center - support + 1.5)"),
    (
        "last pixel",
        "clamp((int)(weights.center + support + 0.5), 0, size)",
        "clamp((int)(weights.center + support - 0.5), 0, size)",
    ),
    ("not antialiased", "const double width = step < 1.0 ? 1.0 : step", "const double width = 1.0"),
    ("too sharp when enlarging", "const double width = step < 1.0 ? 1.0 : step", "const double width = step"),
    (
        "pixel past the picture",
        "clamp((int)(weights.center + support + 0.5), 0, size)",
        "clamp((int)(weights.center + support + 0.5), 0, size + 1)",
    ),
    ("sums cut", "(sum + (1 << (PRECISION - 1))) >> PRECISION", "sum >> PRECISION"),
    ("few bits", "const int PRECISION = 22", "const int PRECISION = 12"),
    ("weights beyond the kept ones", "t < KEPT ? kept[k][t] :", "t < KEPT ? kept[k][t] : 0 *"),
    ("passes exchanged", "crop.rows_first != 0", "crop.rows_first == 0"),
    ("tile not turned back", "rows_first ? sums[j][i][c] : sums[i][j][c]", "sums[i][j][c]"),
    ("weights not shared out", "if (sum != 0.0) weights.portion = 1.0 / sum", "weights.portion = 1.0"),
    ("lower half of a tile", "writer.write(top + i,", "writer.write(i,"),
]
_PIL_CUBIC = [
    ("OpenCV's cubic", "const double a = -0.5", "const double a = -0.75"),
    ("support of a triangle", "(CUBIC ? 2.0 : 1.0) * width", "1.0 * width"),
    (
        "levels wrap",
        "return clamp((sum + (1 << (PRECISION - 1))) >> PRECISION, 0, 255);",
        "return (sum + (1 << (PRECISION - 1))) >> PRECISION & 255;",
    ),
    ("negative weights rounded up", "share < 0.0 ? share - 0.5 : share + 0.5", "share + 1.5"),
]
_CROP = [
    ("a column too many", "(spec.width + COLUMNS - 1) / COLUMNS", "spec.width / COLUMNS + 1"),
    ("tiles overlap", "unit / across * ROWS", "unit / across * (ROWS - 1)"),
    ("one block a crop", "blockIdx.y * blockDim.x + threadIdx.x", "threadIdx.x"),
    ("crops overlap", "blockIdx.x * spec.channels * spec.height", "blockIdx.x * spec.height"),
    ("rows of the last tile", "spec.height - tile.y < ROWS ? spec.height - tile.y : ROWS", "ROWS"),
    ("grey frame in colour", "region.format == FORMAT_GRAY || ", ""),
    (
        "order of the frame only",
        "(region.format == FORMAT_RGB) != (spec.order == ORDER_RGB)",
        "region.format == FORMAT_RGB",
    ),
    ("first frame only", "const Frame& frame = frames[crop.frame]", "const Frame& frame = frames[0]"),
]
_SANITIZED = [
    ("store past the row", "tile.cuh", "aligned = spec.width % COLUMNS == 0", "aligned = true"),
    ("value past the row", "tile.cuh", "if (j < count) store_one", "store_one"),
    ("negative frame index", "frame.cuh", "crop.frame < 0 || ", ""),
    ("frame index one too far", "frame.cuh", "crop.frame >= frame_count", "crop.frame > frame_count"),
]

MUTANTS = [
    *(Mutant(name, "frame.cuh", old, new) for name, old, new in _FRAME),
    *(Mutant(name, "tile.cuh", old, new) for name, old, new in _TILE),
    *(Mutant(name, "opencv.cuh", old, new) for name, old, new in _OPENCV),
    *(Mutant(name, "opencv.cuh", old, new, CUBIC) for name, old, new in _CUBIC),
    *(Mutant(name, "pil.cuh", old, new, PIL) for name, old, new in _PIL),
    *(Mutant(name, "pil.cuh", old, new, PIL_CUBIC) for name, old, new in _PIL_CUBIC),
    *(Mutant(name, "crop.cu", old, new) for name, old, new in _CROP),
    *(Mutant(name, file, old, new, LINEAR, sanitized=True) for name, file, old, new in _SANITIZED),
]
