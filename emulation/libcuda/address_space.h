// Device memory on a machine without a device: addresses that the host cannot read, and real bytes for them elsewhere.
//
// Why two ranges: reading a device's address crashes this process, as it would with a real device. The bytes lie at a
// constant distance from it. Behind every allocation is a page that nobody may touch, and no address is used twice.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

constexpr uint64_t PAGE = 4096;
constexpr uint64_t RANGE = 1ull << 40;
constexpr int PINNED = -1;
constexpr uint64_t ALIGNMENT = 256;

// A range of addresses that one piece of work reads or writes.
struct Span {
    uint64_t begin, size;
    bool writes;
};

using Clock = std::map<int, uint64_t>;  // for each stream: how much of its work comes before

inline void join(Clock& clock, const Clock& other) {
    for (const auto& [stream, serial] : other) clock[stream] = std::max(clock[stream], serial);
}

struct Access {
    int stream;
    uint64_t serial;
    Clock before;
    Span span;

    bool after(const Access& other) const {
        if (stream == other.stream) return serial >= other.serial;
        const auto found = before.find(other.stream);
        return found != before.end() && found->second >= other.serial;
    }
    bool clashes(const Access& other) const {
        return (span.writes || other.span.writes) && span.begin < other.span.begin + other.span.size &&
               other.span.begin < span.begin + span.size;
    }
};

struct Allocation {
    uint64_t begin, size, first_page, pages;
    int device;
    int pending = 0;  // enqueued pieces of work that will use it
    std::vector<Access> accesses;
};

class AddressSpace {
   public:
    AddressSpace() : device_(reserve()), shadow_(reserve()), pinned_(reserve()) {}

    // 0 if `size` is 0.
    uint64_t allocate(uint64_t size, int device) {
        if (size == 0) return 0;
        const uint64_t used = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        const uint64_t pages = (used + PAGE - 1) / PAGE;
        uint64_t& next = device == PINNED ? next_pinned_ : next_device_;
        const uint64_t base = device == PINNED ? pinned_ : device_;
        const uint64_t first = base + next;
        next += (pages + 1) * PAGE;
        const uint64_t begin = first + pages * PAGE - used;
        mprotect((void*)real_page(first, device), pages * PAGE, PROT_READ | PROT_WRITE);
        memset((void*)real_page(first, device), 0xff, pages * PAGE);  // not-a-number in both float types
        allocations_[begin] = {begin, size, first, pages, device, 0, {}};
        return begin;
    }

    void free(Allocation& allocation) {
        void* real = (void*)real_page(allocation.first_page, allocation.device);
        madvise(real, allocation.pages * PAGE, MADV_DONTNEED);
        mprotect(real, allocation.pages * PAGE, PROT_NONE);
        allocations_.erase(allocation.begin);
    }

    // The allocation that contains the whole range, or null.
    Allocation* find(uint64_t begin, uint64_t size) {
        auto next = allocations_.upper_bound(begin);
        if (next == allocations_.begin()) return nullptr;
        Allocation& found = std::prev(next)->second;
        return begin + size <= found.begin + found.size ? &found : nullptr;
    }

    // Where the bytes of an address are.
    unsigned char* real(uint64_t address) const {
        const bool on_device = address >= device_ && address < device_ + RANGE;
        return (unsigned char*)(on_device ? address - device_ + shadow_ : address);
    }

    uint64_t live(bool pinned) const {
        uint64_t count = 0;
        for (const auto& [begin, allocation] : allocations_) count += (allocation.device == PINNED) == pinned;
        return count;
    }

    uint64_t bytes_on(int device) const {
        uint64_t bytes = 0;
        for (const auto& [begin, allocation] : allocations_) bytes += allocation.device == device ? allocation.size : 0;
        return bytes;
    }

   private:
    static uint64_t reserve() {
        void* range = mmap(nullptr, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range == MAP_FAILED) {
            std::perror("the emulated driver cannot reserve addresses");
            std::abort();
        }
        return (uint64_t)range;
    }

    uint64_t real_page(uint64_t page, int device) const {
        return device == PINNED ? page : page - device_ + shadow_;
    }

    uint64_t device_, shadow_, pinned_;
    uint64_t next_device_ = 0, next_pinned_ = 0;
    std::map<uint64_t, Allocation> allocations_;
};
