// Runs the crop kernel on a CPU: jobs from stdin, batches to stdout. With the argument `layout` it prints the structs.
//
// A job: header of int32 {resize, fp16, blocks in y, threads, frames, crops, bytes of the batch}, Spec, then per frame
// Frame, int64 {bytes of luma, bytes of chroma, offset in the allocation}, luma, chroma; then the crops. Every picture,
// table and batch has an allocation of its exact size, so that a sanitizer sees an access one byte too far.
#include "shim.h"

#include "crop.cu"

#include <cstddef>
#include <memory>

#ifndef RESIZES
#define RESIZES 15
#endif

static bool read_bytes(void* target, size_t bytes) { return bytes == 0 || std::fread(target, bytes, 1, stdin) == 1; }

template <typename T>
static T read_value() {
    T value;
    if (!read_bytes(&value, sizeof value)) std::exit(4);
    return value;
}

using Memory = std::unique_ptr<unsigned char[]>;

static Memory read_memory(size_t bytes, size_t offset) {
    Memory memory(new unsigned char[offset + bytes]);
    std::memset(memory.get(), 0, offset);
    if (!read_bytes(memory.get() + offset, bytes)) std::exit(4);
    readable.push_back({memory.get() + offset, memory.get() + offset + bytes});
    return memory;
}

template <typename Resize, typename Out>
static void launch(const Spec& spec, const Frame* frames, int frame_count, const Crop* crops, void* out) {
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
            for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) {
                crop_tile<Resize>(spec, frames, frame_count, crops, (Out*)out);
            }
        }
    }
}

template <typename Resize>
static void launch_as(bool fp16, const Spec& spec, const Frame* frames, int count, const Crop* crops, void* out) {
    if (fp16) {
        launch<Resize, unsigned short>(spec, frames, count, crops, out);
    } else {
        launch<Resize, float>(spec, frames, count, crops, out);
    }
}

static void run_job(const int* header) {
    const Spec spec = read_value<Spec>();
    const int frame_count = header[4];
    const int crop_count = header[5];
    std::vector<Memory> memories;
    std::unique_ptr<Frame[]> frames(new Frame[frame_count]);
    readable.clear();
    for (int i = 0; i < frame_count; ++i) {
        frames[i] = read_value<Frame>();
        long long sizes[3];
        if (!read_bytes(sizes, sizeof sizes)) std::exit(4);
        memories.push_back(read_memory(sizes[0], sizes[2]));
        frames[i].data = (unsigned long long)readable.back().begin;
        memories.push_back(read_memory(sizes[1], 0));
        frames[i].chroma = (unsigned long long)readable.back().begin;
    }
    std::unique_ptr<Crop[]> crops(new Crop[crop_count]);
    if (!read_bytes(crops.get(), crop_count * sizeof(Crop))) std::exit(4);
    const size_t bytes = header[6];
    Memory out(new unsigned char[bytes]);
    std::memset(out.get(), 0xff, bytes);  // NaN in both types: values that were not written show
    gridDim = {(unsigned int)crop_count, (unsigned int)header[2], 1};
    blockDim = {(unsigned int)header[3], 1, 1};
    switch (header[0]) {
#if RESIZES & 1
        case 0: launch_as<OpenCv<2>>(header[1], spec, frames.get(), frame_count, crops.get(), out.get()); break;
#endif
#if RESIZES & 2
        case 1: launch_as<OpenCv<4>>(header[1], spec, frames.get(), frame_count, crops.get(), out.get()); break;
#endif
#if RESIZES & 4
        case 2: launch_as<Pil<false>>(header[1], spec, frames.get(), frame_count, crops.get(), out.get()); break;
#endif
#if RESIZES & 8
        case 3: launch_as<Pil<true>>(header[1], spec, frames.get(), frame_count, crops.get(), out.get()); break;
#endif
        default: std::exit(5);
    }
    std::fwrite(out.get(), bytes, 1, stdout);
}

#define FIELD(TYPE, NAME) std::printf(#TYPE " " #NAME " %zu\n", offsetof(TYPE, NAME))

static void print_layout() {
    std::printf("Spec size %zu\nFrame size %zu\nCrop size %zu\n", sizeof(Spec), sizeof(Frame), sizeof(Crop));
    FIELD(Spec, width), FIELD(Spec, height), FIELD(Spec, channels), FIELD(Spec, order), FIELD(Spec, factor);
    FIELD(Spec, offset), FIELD(Spec, gray), FIELD(Spec, gray_shift);
    FIELD(Frame, data), FIELD(Frame, chroma), FIELD(Frame, width), FIELD(Frame, height), FIELD(Frame, pitch);
    FIELD(Frame, chroma_pitch), FIELD(Frame, format), FIELD(Frame, black), FIELD(Frame, luma), FIELD(Frame, blue_u);
    FIELD(Frame, green_u), FIELD(Frame, green_v), FIELD(Frame, red_v), FIELD(Frame, blue_base);
    FIELD(Frame, green_base), FIELD(Frame, red_base), FIELD(Frame, shift), FIELD(Frame, reserved);
    FIELD(Crop, step_x), FIELD(Crop, step_y), FIELD(Crop, frame), FIELD(Crop, x), FIELD(Crop, y), FIELD(Crop, width);
    FIELD(Crop, height), FIELD(Crop, left), FIELD(Crop, top), FIELD(Crop, fit_width), FIELD(Crop, fit_height);
    FIELD(Crop, rows_first);
}

int main(int count, char** arguments) {
    if (count > 1 && std::strcmp(arguments[1], "layout") == 0) {
        print_layout();
        return 0;
    }
    int header[7];
    while (read_bytes(header, sizeof header)) run_job(header);
    return 0;
}
