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

// What rows are made of: linear drops four bits of a sum.
__device__ inline int kept_of(int sum) { return sum >> 4; }
__device__ inline float kept_of(float sum) { return sum; }

__device__ inline int level_of_rows(const int (&sum)[2], const int (&weight)[2]) {
    return (((sum[0] * weight[0] + (2 << 16)) >> 16) + (sum[1] * weight[1] >> 16)) >> 2;
}

__device__ inline int level_of_rows(const float (&sum)[4], const float (&weight)[4]) {
    const float total = sum[0] * weight[0] + (sum[1] * weight[1] + (sum[2] * weight[2] + sum[3] * weight[3]));
    return clamp(__float2int_rn(total), 0, 255);
}

// The weighted sums of the TAPS source rows that an output row is made of, for the tile's columns; of any picture, pixel
// by pixel.
template <int TAPS, int CHANNELS>
struct Pixels {
    typedef typename Arithmetic<TAPS>::Number Number;
    Taps<TAPS> columns[COLUMNS];
    Number sums[TAPS][COLUMNS][CHANNELS] = {};

    __device__ explicit Pixels(const Taps<TAPS> (&taps)[COLUMNS]) {
        for (int j = 0; j < COLUMNS; ++j) columns[j] = taps[j];
    }

    // Has the sums of the source rows from `first` on, `held` being the one that they began with.
    __device__ void advance(const Spec& spec, const Region& region, int& held, int first) {
#pragma unroll 1
        while (held < first) take(spec, region, held++ + TAPS);
    }

    __device__ void levels(const Taps<TAPS>& row, int (*level)[CHANNELS]) const {
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            for (int c = 0; c < CHANNELS; ++c) {
                Number column[TAPS];
                for (int t = 0; t < TAPS; ++t) column[t] = sums[t][j][c];
                level[j][c] = level_of_rows(column, row.weight);
            }
        }
    }

   private:
    __device__ void take(const Spec& spec, const Region& region, int number) {
        const int row = clamp(number, 0, region.height - 1);
#pragma unroll
        for (int t = 0; t + 1 < TAPS; ++t) {
            for (int j = 0; j < COLUMNS; ++j) {
                for (int c = 0; c < CHANNELS; ++c) sums[t][j][c] = sums[t + 1][j][c];
            }
        }
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            Number sum[CHANNELS] = {};
#pragma unroll
            for (int t = 0; t < TAPS; ++t) {
                int level[CHANNELS];
                const int column = clamp(columns[j].first + t, 0, region.width - 1);
                read_pixel<CHANNELS>(spec, region, column, row, level);
                for (int c = 0; c < CHANNELS; ++c) sum[c] += (Number)level[c] * columns[j].weight[t];
            }
            for (int c = 0; c < CHANNELS; ++c) sums[TAPS - 1][j][c] = kept_of(sum[c]);
        }
    }
};

// The same for linear and three bytes a pixel: three aligned words instead of the six bytes of two pixels. A row is
// kept by whether its number is odd, so none is moved when the next one comes; the row's weights are turned instead.
struct Words {
    int at[COLUMNS];                // bytes from the row's first to the pair of pixels
    unsigned int weights[COLUMNS];  // of the first pixel, and above it of the second
    int sums[2][COLUMNS][3] = {};

    __device__ explicit Words(const Region& region, const Taps<2> (&columns)[COLUMNS]) {
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            const int(&weight)[2] = columns[j].weight;
            at[j] = 3 * (region.x + columns[j].first);
            weights[j] = (unsigned int)weight[0] | (unsigned int)weight[1] << 16;
        }
    }

    // Whether all that the rows from `first` to `last` need lies in the frame: words reach up to 3 bytes before a row's
    // first pixel, and 12 from its last one on. Between two rows that is so, if rows have 12 bytes.
    __device__ static bool lie_within(const Region& region, const Taps<2> (&columns)[COLUMNS], int first, int last) {
        int lowest = columns[0].first;
        int highest = columns[0].first;
#pragma unroll
        for (int j = 1; j < COLUMNS; ++j) {
            lowest = columns[j].first < lowest ? columns[j].first : lowest;
            highest = columns[j].first > highest ? columns[j].first : highest;
        }
        return (region.format == FORMAT_RGB || region.format == FORMAT_BGR) && region.pitch >= 12 &&
               (region.y + first > 0 || region.x + lowest >= 1) &&
               (region.y + last < region.frame_height - 1 || region.x + highest <= region.frame_width - 4);
    }

    // A tile waits for its source rows one after the other, from memory each time if nobody had asked for them before.
    __device__ void foresee_rows(const Region& region, int first, int last) const {
        if (last - first > 2 * ROWS) return;  // then some are not used
#pragma unroll 1
        for (int row = first; row <= last && row < region.height; ++row) foresee(row_of(region, row) + at[0]);
    }

    // Two rows at a time, the even one first, so that each half knows its place; a branch on the place would be made
    // into twice as many moves as were saved.
    __device__ void advance(const Spec&, const Region& region, int& held, int first) {
#pragma unroll 1
        while (held < first) {
            if (!(held & 1)) {
                ++held;
                sum_row<0>(region, held + 1);
                if (held >= first) return;
            }
            ++held;
            sum_row<1>(region, held + 1);
        }
    }

    __device__ void levels(const Taps<2>& row, int (*level)[3]) const {
        const bool odd = row.first & 1;
        const int weight[2] = {odd ? row.weight[1] : row.weight[0], odd ? row.weight[0] : row.weight[1]};
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            for (int c = 0; c < 3; ++c) {
                const int sum[2] = {sums[0][j][c], sums[1][j][c]};
                level[j][c] = level_of_rows(sum, weight);
            }
        }
    }

   private:
    template <int PLACE>
    __device__ void sum_row(const Region& region, int number) {
        int(&sum)[COLUMNS][3] = sums[PLACE];
        const int row = clamp(number, 0, region.height - 1);
        const unsigned char* line = row_of(region, row);
        const int phase = (int)((unsigned long long)line & 3);
        const unsigned int* aligned = (const unsigned int*)(line - phase);
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            const int byte = phase + at[j];
            const unsigned int* word = aligned + (byte >> 2);
            const unsigned int second = __ldg(word + 1);
            const unsigned int low = __funnelshift_r(__ldg(word), second, 8 * byte);  // the shift's five low bits count
            const unsigned int high = __funnelshift_r(second, __ldg(word + 2), 8 * byte);
            const unsigned int first_two = __byte_perm(low, high, 0x4130);
            const unsigned int last = __byte_perm(low, high, 0x5252);
            sum[j][0] = kept_of((int)__dp2a_lo(weights[j], first_two, 0u));
            sum[j][1] = kept_of((int)__dp2a_hi(weights[j], first_two, 0u));
            sum[j][2] = kept_of((int)__dp2a_lo(weights[j], last, 0u));
        }
    }
};

template <int TAPS>
struct OpenCv {
    // Blocks on a multiprocessor: as many as `Words` needs no spilling for.
    static const int RESIDENT = TAPS == 2 ? 5 : 3;

    template <int CHANNELS, typename Out>
    __device__ static void resize(const Spec& spec, const Crop& crop, const Region& region, const Tile& tile,
                                  bool reversed, Out* out) {
        const bool coarse = region.width < IPP_SIDE || region.height < IPP_SIDE;
        Taps<TAPS> columns[COLUMNS];
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            columns[j] = taps_at<TAPS>(tile.x + j - crop.left, crop.fit_width, crop.step_x, region.width, coarse);
        }
        if constexpr (TAPS == 2 && CHANNELS == 3) {
            const int first = source_row(crop, region, tile.y - crop.top);
            const int last = source_row(crop, region, tile.y + tile.rows - 1 - crop.top) + 1;
            if (Words::lie_within(region, columns, first, last)) {
                Words words(region, columns);
                words.foresee_rows(region, first, last);
                write_rows<CHANNELS>(spec, crop, region, tile, coarse, words, reversed, out);
                return;
            }
        }
        Pixels<TAPS, CHANNELS> pixels(columns);
        write_rows<CHANNELS>(spec, crop, region, tile, coarse, pixels, reversed, out);
    }

   private:
    // The upper of the two that an output row is made of; of one outside the picture, the nearest one's.
    __device__ static int source_row(const Crop& crop, const Region& region, int index) {
        const int nearest = clamp(index, 0, crop.fit_height - 1);
        return clamp(taps_at<2>(nearest, crop.fit_height, crop.step_y, 0, false).first, 0, region.height - 1);
    }

    template <int CHANNELS, typename Rows, typename Out>
    __device__ static void write_rows(const Spec& spec, const Crop& crop, const Region& region, const Tile& tile,
                                      bool coarse, Rows& rows, bool reversed, Out* out) {
        const Writer<CHANNELS, Out> writer(spec, tile, reversed, out);
        int held = -2 * TAPS;  // the source row of the first sums; none yet
#pragma unroll 1
        for (int i = 0; i < tile.rows; ++i) {
            const int index = tile.y + i - crop.top;
            const Taps<TAPS> row = taps_at<TAPS>(index, crop.fit_height, crop.step_y, 0, coarse);
            if (index >= 0 && index < crop.fit_height) {
                held = held < row.first - TAPS ? row.first - TAPS : held;
                rows.advance(spec, region, held, row.first);
            }
            int level[COLUMNS][CHANNELS];
            rows.levels(row, level);
            writer.write(i, level);
        }
    }
};
