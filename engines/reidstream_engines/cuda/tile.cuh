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

// Levels 0..255 of one row of a tile, normalised into the planes: level[column][channel]. The product and the sum are
// rounded apart (the kernel is compiled without contraction), so they are the CPU's bit for bit. Trap: an index into the
// arrays of `spec` that is not known when this is compiled becomes a chain of a dozen loads, for each plane of each row.
template <int CHANNELS, typename Out>
__device__ inline void write_row(const Spec& spec, const Tile& tile, int row, bool reversed, Out* out,
                                 const int (*level)[CHANNELS]) {
    const int count = spec.width - tile.x < COLUMNS ? spec.width - tile.x : COLUMNS;
    const bool aligned = spec.width % COLUMNS == 0;  // so is every row, as `out` is
    Out* first = out + tile.plane;
#pragma unroll
    for (int c = 0; c < PLANES; ++c) {
        if (c >= spec.channels) break;
        const bool swapped = CHANNELS == 3 && reversed;
        const float factor = swapped ? spec.factor[PLANES - 1 - c] : spec.factor[c];
        const float offset = swapped ? spec.offset[PLANES - 1 - c] : spec.offset[c];
        const unsigned int plane = swapped ? PLANES - 1 - c : c;
        Out* target = first + (plane * spec.height + tile.y + row) * (unsigned int)spec.width + tile.x;
        float value[COLUMNS];
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) value[j] = (float)level[j][c % CHANNELS] * factor + offset;
        if (aligned) {
            store_four(target, value);
        } else {
            for (int j = 0; j < COLUMNS; ++j) {
                if (j < count) store_one(target + j, value[j]);
            }
        }
    }
}
