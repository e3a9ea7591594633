// A thread's share of a crop: COLUMNS x ROWS pixels of the network's input, and how they are written.
//
// Why four columns: their halves are 8 bytes, one store, and a warp writes 256 bytes in a row. Why eight rows: what a
// column needs (its source position, in double precision, which is slow on most GPUs) is computed once for all of
// them, and source rows that consecutive rows share are read once.
#pragma once
#include "frame.cuh"

const int COLUMNS = 4;
const int ROWS = 8;

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
// rounded apart (the kernel is compiled without contraction), so they are the CPU's bit for bit.
template <int CHANNELS, typename Out>
__device__ inline void write_row(const Spec& spec, const Tile& tile, int row, bool reversed, Out* out,
                                 const int (*level)[CHANNELS]) {
    const int count = spec.width - tile.x < COLUMNS ? spec.width - tile.x : COLUMNS;
    for (int plane = 0; plane < spec.channels; ++plane) {
        float value[COLUMNS];
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            int chosen = level[j][0];
            if (CHANNELS == 3) {
                const int channel = reversed ? 2 - plane : plane;
                chosen = channel == 0 ? level[j][0] : channel == 1 ? level[j][CHANNELS / 2] : level[j][CHANNELS - 1];
            }
            value[j] = (float)chosen * spec.factor[plane] + spec.offset[plane];
        }
        Out* target = out + tile.plane + ((long long)plane * spec.height + tile.y + row) * spec.width + tile.x;
        if (count == COLUMNS && ((unsigned long long)target & (COLUMNS * sizeof(Out) - 1)) == 0) {
            store_four(target, value);
        } else {
            for (int j = 0; j < COLUMNS; ++j) {
                if (j < count) store_one(target + j, value[j]);
            }
        }
    }
}
