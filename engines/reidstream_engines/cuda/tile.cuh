// A thread's share of a crop: COLUMNS x ROWS pixels of the network's input, and how they are written.
//
// Why four columns: their halves are 8 bytes, one store, and a warp writes 256 bytes in a row. Why eight rows: what a
// column needs (its source position, in double precision, which is slow on most GPUs) is computed once for all of
// them, and source rows that consecutive rows share are read once.
#pragma once
#include "frame.cuh"

const int COLUMNS = 4;
const int ROWS = 8;
const int PLANES = 3;  // at most

struct Tile {
    int x;      // of the network's input
    int y;
    int rows;   // ROWS, less at the lower border
    long long plane;  // first element of the crop's first plane
};

__device__ inline void store_four(float* target, const float* value) {
    *(float4*)target = make_float4(value[0], value[1], value[2], value[3]);
}

__device__ inline void store_four(unsigned short* target, const float* value) {
    *(uint2*)target = make_uint2(halves(value[0], value[1]), halves(value[2], value[3]));
}

__device__ inline void store_one(float* target, float value) { *target = value; }

__device__ inline void store_one(unsigned short* target, float value) {
    *target = (unsigned short)halves(value, 0.0f);
}

// Where a tile's rows go. Levels 0..255, level[column][channel], are normalised into the planes; the product and the
// sum are rounded apart (the kernel is compiled without contraction), so they are the CPU's bit for bit.
//
// Why a struct: what would be looked up anew for each row of each plane costs as much as the row. Trap: an index into
// the arrays of `spec` that is not known when this is compiled becomes a chain of a dozen loads.
template <int CHANNELS, typename Out>
struct Writer {
    Out* first;  // element of the tile in the first channel's plane
    int plane;   // elements from there to the next channel's; backwards if their order is turned
    float factor[PLANES];
    float offset[PLANES];
    unsigned int width;
    int planes;
    int count;     // the tile's columns inside the input
    bool aligned;  // four elements of a row may be stored at once

    __device__ Writer(const Spec& spec, const Tile& tile, bool reversed, Out* out) {
        const bool swapped = CHANNELS == 3 && reversed;
        width = (unsigned int)spec.width;
        planes = CHANNELS == 3 ? PLANES : spec.channels;
        count = spec.width - tile.x < COLUMNS ? spec.width - tile.x : COLUMNS;
        aligned = spec.width % COLUMNS == 0;  // so is every row, as `out` is
        const unsigned int whole = (unsigned int)spec.height * width;
        plane = swapped ? -(int)whole : (int)whole;
        first = out + tile.plane + (swapped ? (PLANES - 1) * whole : 0) + tile.y * width + tile.x;
        keep(first);
#pragma unroll
        for (int c = 0; c < PLANES; ++c) {
            factor[c] = swapped ? spec.factor[PLANES - 1 - c] : spec.factor[c];
            offset[c] = swapped ? spec.offset[PLANES - 1 - c] : spec.offset[c];
        }
    }

    __device__ void write(int row, const int (*level)[CHANNELS]) const {
        Out* target = first + (unsigned int)row * width;
        keep(target);
        if (aligned) {
#pragma unroll
            for (int c = 0; c < PLANES; ++c) {
                if (CHANNELS == 1 && c >= planes) break;
                float value[COLUMNS];
                normalise(c, level, value);
                store_four(target, value);
                target += plane;
                keep(target);
            }
            return;
        }
#pragma unroll
        for (int c = 0; c < PLANES; ++c) {
            if (CHANNELS == 1 && c >= planes) break;
            float value[COLUMNS];
            normalise(c, level, value);
            for (int j = 0; j < COLUMNS; ++j) {
                if (j < count) store_one(target + j, value[j]);
            }
            target += plane;
        }
    }

   private:
    __device__ void normalise(int c, const int (*level)[CHANNELS], float* value) const {
        for (int j = 0; j < COLUMNS; ++j) value[j] = (float)level[j][c % CHANNELS] * factor[c] + offset[c];
    }
};
