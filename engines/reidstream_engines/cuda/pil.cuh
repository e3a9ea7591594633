// PIL.Image.resize of uint8 pictures: BILINEAR and BICUBIC, which are antialiased when they reduce.
//
// One axis, rounded to uint8, then the other: columns first, except where Pillow 13 begins with rows. Weights are those of a triangle, or of a cubic with a = -0.5, as wide as
// the step; double, divided by their sum, then rounded to 22 bits, half away from zero.
//
// Trap: there are many weights where a large box is reduced. The first KEPT of each column are kept, the others are
// computed again for each line of the second pass: slower, never different.
#pragma once
#include "tile.cuh"

const int PRECISION = 22;
const int KEPT = 12;
const int SIDE = COLUMNS;  // rows of a tile that are summed at a time; as many as columns, so passes can change places

// The weights of one output pixel, over the source pixels from `first` to before `end`; none is black.
struct Weights {
    double center;
    double shrink;
    double portion;  // 1 / their sum
    int first;
    int end;
};

template <bool CUBIC>
__device__ inline double weight_of(const Weights& weights, int pixel) {
    const double x = fabs((pixel - weights.center + 0.5) * weights.shrink);
    if (!CUBIC) return x < 1.0 ? 1.0 - x : 0.0;
    const double a = -0.5;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

template <bool CUBIC>
__device__ inline int fixed_weight(const Weights& weights, int pixel) {
    const double share = weight_of<CUBIC>(weights, pixel) * weights.portion * (1 << PRECISION);
    return (int)(share < 0.0 ? share - 0.5 : share + 0.5);
}

// Of output pixel `index` of `count`, in a source of `size` pixels.
template <bool CUBIC>
__device__ inline Weights weights_at(int index, int count, double step, int size) {
    const double width = step < 1.0 ? 1.0 : step;
    const double support = (CUBIC ? 2.0 : 1.0) * width;
    Weights weights = {(index + 0.5) * step, 1.0 / width, 0.0, 0, 0};
    if (index < 0 || index >= count) return weights;
    weights.first = clamp((int)(weights.center - support + 0.5), 0, size);
    weights.end = clamp((int)(weights.center + support + 0.5), 0, size);
    double sum = 0.0;
    for (int pixel = weights.first; pixel < weights.end; ++pixel) sum += weight_of<CUBIC>(weights, pixel);
    if (sum != 0.0) weights.portion = 1.0 / sum;
    return weights;
}

__device__ inline int level_of_sum(int sum) { return clamp((sum + (1 << (PRECISION - 1))) >> PRECISION, 0, 255); }

// Up to SIDE x SIDE pixels of a tile, its rows from `top` on. The first pass runs over columns, or over rows.
template <bool CUBIC, int CHANNELS>
__device__ inline void resample(const Spec& spec, const Crop& crop, const Region& region, const Tile& tile, int top,
                                int (&level)[SIDE][SIDE][CHANNELS]) {
    const bool rows_first = crop.rows_first != 0;
    Weights first[SIDE];
    Weights second[SIDE];
    int kept[SIDE][KEPT];
    int lowest = rows_first ? region.width : region.height;
    int highest = 0;
#pragma unroll
    for (int k = 0; k < SIDE; ++k) {
        const Weights column = weights_at<CUBIC>(tile.x + k - crop.left, crop.fit_width, crop.step_x, region.width);
        const Weights row =
            weights_at<CUBIC>(tile.y + top + k - crop.top, crop.fit_height, crop.step_y, region.height);
        first[k] = rows_first ? row : column;
        second[k] = rows_first ? column : row;
        for (int t = 0; t < KEPT && t < first[k].end - first[k].first; ++t) {
            kept[k][t] = fixed_weight<CUBIC>(first[k], first[k].first + t);
        }
        if (second[k].end > second[k].first) {
            lowest = second[k].first < lowest ? second[k].first : lowest;
            highest = second[k].end > highest ? second[k].end : highest;
        }
    }
    int sums[SIDE][SIDE][CHANNELS] = {};  // second, first
#pragma unroll 1
    for (int place = lowest; place < highest; ++place) {
        int between[SIDE][CHANNELS];
#pragma unroll
        for (int k = 0; k < SIDE; ++k) {
            int sum[CHANNELS] = {};
#pragma unroll 1
            for (int pixel = first[k].first; pixel < first[k].end; ++pixel) {
                const int t = pixel - first[k].first;
                const int weight = t < KEPT ? kept[k][t] : fixed_weight<CUBIC>(first[k], pixel);
                int source[CHANNELS];
                read_pixel<CHANNELS>(spec, region, rows_first ? place : pixel, rows_first ? pixel : place, source);
                for (int c = 0; c < CHANNELS; ++c) sum[c] += weight * source[c];
            }
            for (int c = 0; c < CHANNELS; ++c) between[k][c] = level_of_sum(sum[c]);
        }
#pragma unroll
        for (int k = 0; k < SIDE; ++k) {
            if (place < second[k].first || place >= second[k].end) continue;
            const int weight = fixed_weight<CUBIC>(second[k], place);
            for (int j = 0; j < SIDE; ++j) {
                for (int c = 0; c < CHANNELS; ++c) sums[k][j][c] += weight * between[j][c];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < SIDE; ++i) {
        for (int j = 0; j < SIDE; ++j) {
            for (int c = 0; c < CHANNELS; ++c) {
                level[i][j][c] = level_of_sum(rows_first ? sums[j][i][c] : sums[i][j][c]);
            }
        }
    }
}

template <bool CUBIC>
struct Pil {
    static const int RESIDENT = 2;

    template <int CHANNELS, typename Out>
    __device__ static void resize(const Spec& spec, const Crop& crop, const Region& region, const Tile& tile,
                                  bool reversed, Out* out) {
        const Writer<CHANNELS, Out> writer(spec, tile, reversed, out);
#pragma unroll 1
        for (int top = 0; top < tile.rows; top += SIDE) {
            int level[SIDE][SIDE][CHANNELS];
            resample<CUBIC>(spec, crop, region, tile, top, level);
#pragma unroll
            for (int i = 0; i < SIDE; ++i) {
                if (top + i < tile.rows) writer.write(top + i, level[i]);
            }
        }
    }
};
