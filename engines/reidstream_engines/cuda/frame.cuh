// What the kernel is told, and how it reads a pixel.
//
// The structs are mirrored by the dtypes of kernel_params.py; a test compares every offset. They hold fixed-size
// fields in an order that needs no hidden padding. Trap: every read of a picture goes through __ldg, so that the
// emulation can check each of them against the frame's exact bytes.
#pragma once

enum Order { ORDER_RGB = 0, ORDER_BGR = 1, ORDER_GRAY = 2 };
enum Format { FORMAT_RGB = 0, FORMAT_BGR = 1, FORMAT_GRAY = 2, FORMAT_NV12 = 3 };

// One network's input: y = level * factor[c] + offset[c], planes of width x height.
struct Spec {
    int width;
    int height;
    int channels;  // planes written: 3, or 1
    int order;     // Order, the network's
    float factor[3];
    float offset[3];
    int gray[3];  // weights of red, green, blue
    int gray_shift;
};

// A staged picture. The last row needs no padding up to the pitch.
struct Frame {
    unsigned long long data;    // address of the first row; NV12: of luma
    unsigned long long chroma;  // NV12: address of the first row of (U, V) pairs
    int width;
    int height;
    int pitch;         // bytes from row to row
    int chroma_pitch;  // the same of chroma
    int format;        // Format
    int black;         // NV12, fixed point: channel = (luma * max(Y - black, 0) + ... + base) >> shift
    int luma;
    int blue_u;
    int green_u;
    int green_v;
    int red_v;
    int blue_base;
    int green_base;
    int red_base;
    int shift;
    int reserved;
};

// A rectangle of a frame, and where it lies in the network's input.
struct Crop {
    double step_x;  // source pixels per pixel of the input, as the reference computes them
    double step_y;
    int frame;  // index into the frames
    int x;
    int y;
    int width;
    int height;
    int left;
    int top;
    int fit_width;
    int fit_height;
    int rows_first;  // PIL: the order of its passes
};

// A rectangle of a picture, ready to be read; `region` knows no coordinates outside it.
struct Region {
    const Frame* frame;
    const unsigned char* begin;  // the frame's first byte (luma's, for NV12)
    int pitch;                   // these four are the frame's: what is read anew behind every store is slow
    int format;
    int frame_width;
    int frame_height;
    int x;
    int y;
    int width;
    int height;
};

__device__ inline int clamp(int value, int lowest, int highest) {
    return value < lowest ? lowest : value > highest ? highest : value;
}

__device__ inline const unsigned char* row_of(const Region& region, int row) {
    return region.begin + (unsigned long long)(unsigned int)(region.y + row) * (unsigned int)region.pitch;
}

__device__ inline bool lies_within(int start, int length, int whole) {
    return start >= 0 && length > 0 && length <= whole && start <= whole - length;
}

__device__ inline bool leads_across(double step, int from, int to) {
    const double error = step * to - from;
    return error > -0.5 && error < 0.5;  // false for NaN
}

// Whether the crop can be read at all. A crop that cannot is black: upper layers have answered hostile boxes by then,
// and what a fault of theirs lets through must still not read a byte outside its frame.
__device__ inline bool usable(const Spec& spec, const Frame* frames, int frame_count, const Crop& crop) {
    if (crop.frame < 0 || crop.frame >= frame_count) return false;
    const Frame& frame = frames[crop.frame];
    return lies_within(crop.x, crop.width, frame.width) && lies_within(crop.y, crop.height, frame.height) &&
           lies_within(crop.left, crop.fit_width, spec.width) && lies_within(crop.top, crop.fit_height, spec.height) &&
           leads_across(crop.step_x, crop.width, crop.fit_width) &&
           leads_across(crop.step_y, crop.height, crop.fit_height);
}

__device__ inline Region region_of(const Frame& frame, const Crop& crop) {
    Region region;
    region.frame = &frame;
    region.begin = (const unsigned char*)frame.data;
    region.pitch = frame.pitch;
    region.format = frame.format;
    region.frame_width = frame.width;
    region.frame_height = frame.height;
    region.x = crop.x;
    region.y = crop.y;
    region.width = crop.width;
    region.height = crop.height;
    return region;
}

__device__ inline int level_of(const Frame& frame, int sum) { return clamp(sum >> frame.shift, 0, 255); }

// Levels in blue, green, red for NV12, in the order of the bytes otherwise.
__device__ inline void read_color(const Region& region, int column, int row, int* level) {
    const unsigned char* line = row_of(region, row);
    const int x = region.x + column;
    if (region.format != FORMAT_NV12) {
        for (int c = 0; c < 3; ++c) level[c] = __ldg(line + 3 * x + c);
        return;
    }
    const Frame& frame = *region.frame;
    const int light = __ldg(line + x) - frame.black;
    const int luma = frame.luma * (light > 0 ? light : 0);
    const unsigned char* pair = (const unsigned char*)frame.chroma +
                                (long long)((region.y + row) >> 1) * frame.chroma_pitch + (x & ~1);
    const int u = __ldg(pair);
    const int v = __ldg(pair + 1);
    level[0] = level_of(frame, luma + frame.blue_u * u + frame.blue_base);
    level[1] = level_of(frame, luma + frame.green_u * u + frame.green_v * v + frame.green_base);
    level[2] = level_of(frame, luma + frame.red_v * v + frame.red_base);
}

// CHANNELS 3: a colour picture for a colour network. CHANNELS 1: a grey picture, or one that is turned to grey here,
// before the resize, as the reference does.
template <int CHANNELS>
__device__ inline void read_pixel(const Spec& spec, const Region& region, int column, int row, int* level) {
    if (CHANNELS == 3) {
        read_color(region, column, row, level);
    } else if (region.format == FORMAT_GRAY) {
        level[0] = __ldg(row_of(region, row) + region.x + column);
    } else {
        int color[3];
        read_color(region, column, row, color);
        const bool red_first = region.format == FORMAT_RGB;
        const int red = red_first ? color[0] : color[2];
        const int blue = red_first ? color[2] : color[0];
        const int sum = spec.gray[0] * red + spec.gray[1] * color[1] + spec.gray[2] * blue;
        level[0] = (sum + (1 << (spec.gray_shift - 1))) >> spec.gray_shift;
    }
}
