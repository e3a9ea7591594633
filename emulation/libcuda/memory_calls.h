// Memory, and copies of it. Trap: a source must not change before it is copied, so its checksum is taken twice.
#pragma once
#include "driver.h"

static Status allocate(Call& call, Address* address, size_t size, int device) {
    if (!call) return call.status;
    if (device != PINNED && call.all.memory.bytes_on(device) + size > call.all.size) return OUT_OF_MEMORY;
    *address = call.all.memory.allocate(size, device);
    return *address ? OK : INVALID_VALUE;
}
static Status give_back(Call& call, Address address, bool pinned) {
    if (!call) return call.status;
    Allocation* found = call.all.memory.find(address, 1);
    if (!found || found->begin != address || (found->device == PINNED) != pinned) {
        call.all.fault(std::string(call.name) + ": nothing was allocated there");
        return INVALID_VALUE;
    }
    if (found->pending) call.all.fault(std::string(call.name) + ": work that was enqueued will use it");
    call.all.memory.free(*found);
    return OK;
}
static Status cuMemAlloc(Address* address, size_t size) {
    Call call("cuMemAlloc", true, false);
    return allocate(call, address, size, current ? current->device : 0);
}
static Status cuMemFree(Address address) {
    Call call("cuMemFree", true, false);
    return give_back(call, address, false);
}
static Status cuMemHostAlloc(Address* address, size_t size, unsigned int flags) {
    Call call("cuMemHostAlloc", true, false);
    if (flags != PORTABLE) call.all.fault("cuMemHostAlloc: for one device only");
    return allocate(call, address, size, PINNED);
}
static Status cuMemFreeHost(Address address) {
    Call call("cuMemFreeHost", true, false);
    return give_back(call, address, true);
}
static Status cuMemGetInfo(size_t* free, size_t* total) {
    ENTER("cuMemGetInfo");
    *total = call.all.size, *free = call.all.size - call.all.memory.bytes_on(current->device);
    return OK;
}

static uint64_t digest(const unsigned char* bytes, uint64_t size) {
    uint64_t sum = 1469598103934665603ull;
    for (uint64_t i = 0; i < size; ++i) sum = (sum ^ bytes[i]) * 1099511628211ull;
    return sum;
}
static Status copy(const char* name, Address target, Address source, size_t size, void* stream) {
    ENTER(name);
    AddressSpace& memory = call.all.memory;
    const Allocation* from = memory.find(source, size);
    const Allocation* to = memory.find(target, size);
    const bool uploads = std::strcmp(name, "cuMemcpyHtoDAsync") == 0;
    const bool downloads = std::strcmp(name, "cuMemcpyDtoHAsync") == 0;
    if (from && to && ((from->device == PINNED) != uploads || (to->device == PINNED) != downloads)) {
        call.all.fault(std::string(name) + ": from or to the wrong kind of memory");
        return INVALID_VALUE;
    }
    unsigned char* here = memory.real(source);
    unsigned char* there = memory.real(target);
    const bool now = capturing == nullptr;
    const uint64_t before = uploads && now && from ? digest(here, size) : 0;
    if (now && to && downloads) std::memset(there, 0xff, size);  // a read that comes too early shows
    auto run = [=] {
        if (uploads && now && digest(here, size) != before) {
            std::unique_lock<std::mutex> held(driver().lock);
            driver().fault(std::string(name) + ": its source changed before it was copied");
        }
        std::memcpy(there, here, size);
    };
    return call.enqueue(stream, {run, {{source, size, false}, {target, size, true}}});
}
static Status cuMemcpyHtoDAsync(Address target, Address source, size_t size, void* stream) {
    return copy("cuMemcpyHtoDAsync", target, source, size, stream);
}
static Status cuMemcpyDtoHAsync(Address target, Address source, size_t size, void* stream) {
    return copy("cuMemcpyDtoHAsync", target, source, size, stream);
}
static Status cuMemcpyDtoDAsync(Address target, Address source, size_t size, void* stream) {
    return copy("cuMemcpyDtoDAsync", target, source, size, stream);
}
static Status cuMemsetD8Async(Address target, unsigned char value, size_t size, void* stream) {
    ENTER("cuMemsetD8Async");
    unsigned char* there = call.all.memory.real(target);
    return call.enqueue(stream, {[=] { std::memset(there, value, size); }, {{target, size, true}}});
}
