// Crops of staged frames, resized and normalised into a batch of network inputs, in one pass.
//
// A module has one entry, `crop`, for one resize and one output type, which the options CROP_RESIZE (OpenCv<2>,
// OpenCv<4>, Pil<false>, Pil<true>) and CROP_OUT (float; unsigned short for halves) name:
//
//     grid   (crops, ceil(ceil(width / COLUMNS) * ceil(height / ROWS) / BLOCK), 1)
//     block  (BLOCK, 1, 1)
//     args   Spec by value, const Frame* frames, int frame_count, const Crop* crops, Out* out
//
// `out` is (crops, channels, height, width), contiguous, at a multiple of 16 bytes; every element of it is written.
// There are no barriers, no atomics and no shared memory, so a loop over blocks and threads on a CPU computes the same.
#ifdef __CUDACC_RTC__
// Two floats as halves, rounded to nearest even; `low` lies at the lower address.
__device__ inline unsigned int halves(float low, float high) {
    unsigned int both;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#else
    asm("{.reg .f16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h};}"
        : "=r"(both) : "f"(low), "f"(high));
#endif
    return both;
}

// A value that the compiler knows nothing of, so that it is kept and not put together anew wherever it is used.
template <typename T>
__device__ inline void keep(T*& pointer) {
    asm("" : "+l"(pointer));
    __builtin_assume(__isGlobal(pointer));
}

// Has the device begin to bring these bytes nearer.
__device__ inline void foresee(const void* address) { asm volatile("prefetch.global.L2 [%0];" : : "l"(address)); }
#else
template <typename T>
inline void keep(T*&) {}
inline void foresee(const void*) {}
#endif

#include "opencv.cuh"
#include "pil.cuh"

const int BLOCK = 128;

template <typename Resize, typename Out>
__device__ inline void crop_tile(const Spec& spec, const Frame* frames, int frame_count, const Crop* crops, Out* out) {
    const int across = (spec.width + COLUMNS - 1) / COLUMNS;
    const int unit = blockIdx.y * blockDim.x + threadIdx.x;
    Tile tile;
    tile.x = unit % across * COLUMNS;
    tile.y = unit / across * ROWS;
    if (tile.y >= spec.height) return;
    tile.rows = spec.height - tile.y < ROWS ? spec.height - tile.y : ROWS;
    tile.plane = (long long)blockIdx.x * spec.channels * spec.height * spec.width;
    const Crop crop = crops[blockIdx.x];
    if (!usable(spec, frames, frame_count, crop)) {
        const int black[COLUMNS][1] = {};
        const Writer<1, Out> writer(spec, tile, false, out);
        for (int i = 0; i < tile.rows; ++i) writer.write(i, black);
        return;
    }
    const Frame& frame = frames[crop.frame];
    const Region region = region_of(frame, crop);
    if (region.format == FORMAT_GRAY || spec.order == ORDER_GRAY) {
        Resize::template resize<1>(spec, crop, region, tile, false, out);
    } else {
        const bool reversed = (region.format == FORMAT_RGB) != (spec.order == ORDER_RGB);
        Resize::template resize<3>(spec, crop, region, tile, reversed, out);
    }
}

#ifdef CROP_RESIZE
extern "C" __global__ void __launch_bounds__(BLOCK, CROP_RESIZE::RESIDENT)
    crop(const Spec spec, const Frame* frames, int frame_count, const Crop* crops, CROP_OUT* out) {
    crop_tile<CROP_RESIZE>(spec, frames, frame_count, crops, out);
}
#endif
