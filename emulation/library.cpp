// The crop kernel as a library: a fake driver calls `launch` where a real one would use a device.
#define main driver_main
#include "driver.cpp"
#undef main

// Reads are checked against each frame's exact bytes. Use from one thread at a time.
extern "C" void launch(int resize, int fp16, const unsigned int* grid, const unsigned int* block, const Spec* spec,
                       const Frame* frames, int frame_count, const Crop* crops, void* out) {
    readable.clear();
    for (int i = 0; i < frame_count; ++i) {
        const Frame& frame = frames[i];
        const unsigned char* luma = (const unsigned char*)frame.data;
        const int channels = frame.format == FORMAT_RGB || frame.format == FORMAT_BGR ? 3 : 1;
        readable.push_back({luma, luma + (long long)frame.pitch * (frame.height - 1) + frame.width * channels});
        if (frame.chroma) {
            const unsigned char* chroma = (const unsigned char*)frame.chroma;
            readable.push_back({chroma, chroma + (long long)frame.chroma_pitch * (frame.height / 2 - 1) + frame.width});
        }
    }
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    switch (resize) {
#if RESIZES & 1
        case 0: launch_as<OpenCv<2>>(fp16, *spec, frames, frame_count, crops, out); break;
#endif
#if RESIZES & 2
        case 1: launch_as<OpenCv<4>>(fp16, *spec, frames, frame_count, crops, out); break;
#endif
#if RESIZES & 4
        case 2: launch_as<Pil<false>>(fp16, *spec, frames, frame_count, crops, out); break;
#endif
#if RESIZES & 8
        case 3: launch_as<Pil<true>>(fp16, *spec, frames, frame_count, crops, out); break;
#endif
        default: std::exit(5);
    }
}
