// The parts of CUDA that the crop kernel uses, for a C++ compiler. The driver's loops take the device's place.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __device__
#define __global__
#define __launch_bounds__(...)

struct Index3 {
    unsigned int x, y, z;
};
static Index3 blockIdx, threadIdx, blockDim, gridDim;

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned int x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }

// The exact bytes of each picture: a read is checked against them, to the byte, with or without a sanitizer.
struct Range {
    const unsigned char* begin;
    const unsigned char* end;
};
static std::vector<Range> readable;

template <typename T>
inline T __ldg(const T* pointer) {
    const unsigned char* begin = (const unsigned char*)pointer;
    for (const Range& range : readable) {
        if (begin >= range.begin && begin + sizeof(T) <= range.end) {
            T value;
            std::memcpy(&value, pointer, sizeof(T));
            return value;
        }
    }
    std::fprintf(stderr, "read outside every picture: %zu bytes at %p\n", sizeof(T), (const void*)pointer);
    std::exit(3);
}

inline int __float2int_rn(float value) { return (int)std::lrintf(value); }

inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, unsigned int shift) {
    return (unsigned int)(((unsigned long long)high << 32 | low) >> (shift & 31));
}

inline unsigned int __byte_perm(unsigned int low, unsigned int high, unsigned int selector) {
    const unsigned long long both = (unsigned long long)high << 32 | low;
    unsigned int result = 0;
    for (int i = 0; i < 4; ++i) result |= (unsigned int)(both >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    return result;
}

inline unsigned int dot_pair(unsigned int pair, unsigned int bytes, unsigned int sum) {
    return sum + (pair & 65535) * (bytes & 255) + (pair >> 16) * (bytes >> 8 & 255);
}
inline unsigned int __dp2a_lo(unsigned int pair, unsigned int bytes, unsigned int sum) {
    return dot_pair(pair, bytes, sum);
}
inline unsigned int __dp2a_hi(unsigned int pair, unsigned int bytes, unsigned int sum) {
    return dot_pair(pair, bytes >> 16, sum);
}

// Rounds to IEEE half, ties to even.
inline unsigned int half_bits(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, 4);
    const unsigned int sign = bits >> 16 & 0x8000;
    const unsigned int magnitude = bits & 0x7fffffff;
    if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7fff : 0x7c00);
    if (magnitude < 0x38800000) {  // subnormal halves count units of 2^-24
        float positive;
        std::memcpy(&positive, &magnitude, 4);
        return sign | (unsigned int)std::lrintf(positive * 16777216.0f);
    }
    const unsigned int rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return sign | (rounded >= 0x47800000 ? 0x7c00 : (rounded - 0x38000000) >> 13);
}
inline unsigned int halves(float low, float high) { return half_bits(low) | half_bits(high) << 16; }
