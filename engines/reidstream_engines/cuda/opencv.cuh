// cv2.resize of uint8 pictures on x86: INTER_LINEAR with TAPS 2, INTER_CUBIC with TAPS 4.
//
// Positions are double, then rounded to float. Linear is fixed point, bit for bit: weights are rounded to 11 bits, half
// to even; columns are summed exactly, rows drop four bits of each sum and 16 of each product. Where both axes are halved
// OpenCV averages areas; linear gives the very same levels there, so it has no case of its own. Cubic is IPP's on x86,
// in float, and the same here but for the last bits of a sum, which seldom move a level. A source less than four pixels
// wide or high is not IPP's: OpenCV's own cubic rounds the weights to 11 bits.
//
// Trap: a float bilinear looks the same and costs 0.0015 of cosine. Trap: at the left and right border linear moves
// the whole weight to one pixel, at the upper and lower one it reads the border's row twice.
#pragma once
#include "tile.cuh"

const int WEIGHT_ONE = 2048;
const int IPP_SIDE = 4;

// Blocks on a multiprocessor: as many as need no spilling.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
const int LINEAR_RESIDENT = 5;
#else
const int LINEAR_RESIDENT = 6;
#endif

template <int TAPS>
struct Arithmetic;
template <>
struct Arithmetic<2> {
    typedef int Number;
};
template <>
struct Arithmetic<4> {
    typedef float Number;
};

// First source pixel and weights of one output pixel; all weights 0 is black.
template <int TAPS>
struct Taps {
    int first;
    typename Arithmetic<TAPS>::Number weight[TAPS];
};

__device__ inline void weigh(float x, bool, int (&weight)[2]) {
    weight[0] = __float2int_rn((1.0f - x) * WEIGHT_ONE);
    weight[1] = __float2int_rn(x * WEIGHT_ONE);
}

// Keys' cubic with a = -0.75; `coarse` rounds to 11 bits.
__device__ inline void weigh(float x, bool coarse, float (&weight)[4]) {
    const float a = -0.75f;
    const float rest = 1.0f - x;
    weight[0] = ((a * (x + 1.0f) - 5.0f * a) * (x + 1.0f) + 8.0f * a) * (x + 1.0f) - 4.0f * a;
    weight[1] = ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f;
    weight[2] = ((a + 2.0f) * rest - (a + 3.0f)) * rest * rest + 1.0f;
    weight[3] = 1.0f - weight[0] - weight[1] - weight[2];
    for (int t = 0; coarse && t < 4; ++t) {
        weight[t] = (float)__float2int_rn(weight[t] * WEIGHT_ONE) * (1.0f / WEIGHT_ONE);
    }
}

// Of output pixel `index` of `count`. `size` is that of the source, or 0 for rows, which are not moved at the borders.
template <int TAPS>
__device__ inline Taps<TAPS> taps_at(int index, int count, double step, int size, bool coarse) {
    Taps<TAPS> taps = {};
    if (index < 0 || index >= count) return taps;
    const float position = (float)((index + 0.5) * step - 0.5);
    const float whole = floorf(position);
    float rest = position - whole;
    int pixel = (int)whole;
    if (TAPS == 2 && size > 0 && (pixel < 0 || pixel >= size - 1)) {
        rest = 0.0f;
        pixel = pixel < 0 ? 0 : size - 1;
    }
    taps.first = pixel - (TAPS / 2 - 1);
    weigh(rest, coarse, taps.weight);
    return taps;
}

// Three bytes a pixel, two pixels beside each other, `at` bytes behind an aligned word: three words instead of six bytes.
__device__ inline void sum_pair(const unsigned int* words, int at, const int (&weight)[2], int (&sum)[3]) {
    const unsigned int* word = words + (at >> 2);
    const unsigned int second = __ldg(word + 1);
    const unsigned int low = __funnelshift_r(__ldg(word), second, 8 * at);  // the shift's five low bits count
    const unsigned int high = __funnelshift_r(second, __ldg(word + 2), 8 * at);
    const unsigned int weights = (unsigned int)weight[0] | (unsigned int)weight[1] << 16;
    const unsigned int first_two = __byte_perm(low, high, 0x4130);
    const unsigned int last = __byte_perm(low, high, 0x5252);
    sum[0] = (int)__dp2a_lo(weights, first_two, 0u);
    sum[1] = (int)__dp2a_hi(weights, first_two, 0u);
    sum[2] = (int)__dp2a_lo(weights, last, 0u);
}

// Whether the words around the tile's pixels of this row lie in the frame: up to 3 bytes before the first pixel, and 12
// from the last one on. In all rows but the frame's first and last they do, if its rows have 12 bytes.
template <int TAPS>
__device__ inline bool words_lie_within(const Region& region, int row, const Taps<TAPS>* columns) {
    int lowest = columns[0].first;
    int highest = columns[0].first;
#pragma unroll
    for (int j = 1; j < COLUMNS; ++j) {
        lowest = columns[j].first < lowest ? columns[j].first : lowest;
        highest = columns[j].first > highest ? columns[j].first : highest;
    }
    const int y = region.y + row;
    return (y > 0 || region.x + lowest >= 1) &&
           (y < region.frame_height - 1 || region.x + highest <= region.frame_width - 4) && region.pitch >= 12;
}

// What rows are made of: linear drops four bits of a sum.
__device__ inline int kept_of(int sum) { return sum >> 4; }
__device__ inline float kept_of(float sum) { return sum; }

// The weighted sums of one source row for the tile's columns.
template <int TAPS, int CHANNELS, typename Number>
__device__ inline void sum_columns(const Spec& spec, const Region& region, int row, const Taps<TAPS>* columns,
                                   Number (&sum)[COLUMNS][CHANNELS]) {
    if constexpr (TAPS == 2 && CHANNELS == 3) {
        const bool packed = region.format == FORMAT_RGB || region.format == FORMAT_BGR;
        if (packed && words_lie_within(region, row, columns)) {
            const unsigned char* line = row_of(region, row) + 3 * region.x;
            const int phase = (int)((unsigned long long)line & 3);
            const unsigned int* words = (const unsigned int*)(line - phase);
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                sum_pair(words, phase + 3 * columns[j].first, columns[j].weight, sum[j]);
                for (int c = 0; c < CHANNELS; ++c) sum[j][c] = kept_of(sum[j][c]);
            }
            return;
        }
    }
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
        for (int c = 0; c < CHANNELS; ++c) sum[j][c] = 0;
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
            int level[CHANNELS];
            const int column = clamp(columns[j].first + t, 0, region.width - 1);
            read_pixel<CHANNELS>(spec, region, column, row, level);
            for (int c = 0; c < CHANNELS; ++c) sum[j][c] += (Number)level[c] * columns[j].weight[t];
        }
        for (int c = 0; c < CHANNELS; ++c) sum[j][c] = kept_of(sum[j][c]);
    }
}

__device__ inline int level_of_rows(const int (&sum)[2], const int (&weight)[2]) {
    return (((sum[0] * weight[0] + (2 << 16)) >> 16) + (sum[1] * weight[1] >> 16)) >> 2;
}

__device__ inline int level_of_rows(const float (&sum)[4], const float (&weight)[4]) {
    const float total = sum[0] * weight[0] + (sum[1] * weight[1] + (sum[2] * weight[2] + sum[3] * weight[3]));
    return clamp(__float2int_rn(total), 0, 255);
}

template <int TAPS>
struct OpenCv {
    typedef typename Arithmetic<TAPS>::Number Number;
    static const int RESIDENT = TAPS == 2 ? LINEAR_RESIDENT : 3;

    template <int CHANNELS, typename Out>
    __device__ static void resize(const Spec& spec, const Crop& crop, const Region& region, const Tile& tile,
                                  bool reversed, Out* out) {
        const bool coarse = region.width < IPP_SIDE || region.height < IPP_SIDE;
        Taps<TAPS> columns[COLUMNS];
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            columns[j] = taps_at<TAPS>(tile.x + j - crop.left, crop.fit_width, crop.step_x, region.width, coarse);
        }
        Number sums[TAPS][COLUMNS][CHANNELS] = {};
        int held = -2 * TAPS;  // the source row of sums[0]; none yet
#pragma unroll 1
        for (int i = 0; i < tile.rows; ++i) {
            const int index = tile.y + i - crop.top;
            const Taps<TAPS> row = taps_at<TAPS>(index, crop.fit_height, crop.step_y, 0, coarse);
            if (index >= 0 && index < crop.fit_height) {
                held = held < row.first - TAPS ? row.first - TAPS : held;
#pragma unroll 1
                while (held < row.first) {
                    ++held;
#pragma unroll
                    for (int t = 0; t + 1 < TAPS; ++t) {
                        for (int j = 0; j < COLUMNS; ++j) {
                            for (int c = 0; c < CHANNELS; ++c) sums[t][j][c] = sums[t + 1][j][c];
                        }
                    }
                    const int next = clamp(held + TAPS - 1, 0, region.height - 1);
                    sum_columns<TAPS, CHANNELS, Number>(spec, region, next, columns, sums[TAPS - 1]);
                }
            }
            int level[COLUMNS][CHANNELS];
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                for (int c = 0; c < CHANNELS; ++c) {
                    Number column[TAPS];
                    for (int t = 0; t < TAPS; ++t) column[t] = sums[t][j][c];
                    level[j][c] = level_of_rows(column, row.weight);
                }
            }
            write_row<CHANNELS>(spec, tile, i, reversed, out, level);
        }
    }
};
