// What all calls of the emulated driver share: its state, the failures that were asked for, and the final report.
//
// Trap: one lock guards everything. A call holds it from its first line on, and releases it only while it waits.
#pragma once
#include <fstream>
#include <sstream>

#include "../library.cpp"
#include "cubin.h"
#include "queues.h"

using Status = int;
using Address = uint64_t;

enum : Status {
    OK = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    ECC_UNCORRECTABLE = 214,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_ISOLATION = 905,
    CAPTURE_WRONG_THREAD = 908,
};

static const std::map<Status, const char*> NAMES = {
    {OK, "CUDA_SUCCESS"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
    {ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
    {NOT_READY, "CUDA_ERROR_NOT_READY"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
    {LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
    {CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"},
    {CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"},
};

constexpr unsigned int NON_BLOCKING = 1, BLOCKING_SYNC = 1, DISABLE_TIMING = 2, PORTABLE = 1, THREAD_LOCAL = 1;
constexpr unsigned int REGISTERS_OF_A_BLOCK = 65536, MOST_BLOCKS_YZ = 65535;
constexpr int ARCHITECTURE = 90, VERSION = 13000, MAJOR_ATTRIBUTE = 75, MINOR_ATTRIBUTE = 76;

struct Context {
    int device;
};
struct Module {
    int device, resize, half;
    Cubin cubin;
};

template <typename T>
using Handles = std::map<void*, std::shared_ptr<T>>;

static std::string setting(const char* name, const char* otherwise) {
    const char* found = std::getenv(name);
    return found ? found : otherwise;
}

struct Driver : World {
    int devices = std::stoi(setting("EMULATED_CUDA_DEVICES", "1"));
    uint64_t size = std::stoull(setting("EMULATED_CUDA_MEMORY", "4294967296"));
    std::string failing;
    int calls_to_go = 0, failing_with = 0;
    std::map<std::string, uint64_t> calls;
    std::map<int, int> retained;
    std::vector<Context> contexts;
    Handles<Stream> streams;
    Handles<Event> events;
    Handles<Module> modules;
    Handles<Graph> graphs, runnable;
    int streams_made = 0;
    std::mutex one_kernel;  // the shim's blockIdx is shared by all threads

    Driver() {
        pace_us = std::stoi(setting("EMULATED_CUDA_PACE_US", "0"));
        for (int i = 0; i < devices; ++i) contexts.push_back({i});
        std::stringstream fault(setting("EMULATED_CUDA_FAULT", ""));
        std::string number, status;
        if (std::getline(fault, failing, ':') && std::getline(fault, number, ':') && std::getline(fault, status)) {
            calls_to_go = std::stoi(number), failing_with = std::stoi(status);
        }
    }

    void report() {
        std::unique_lock<std::mutex> held(lock);
        std::ofstream file(setting("EMULATED_CUDA_REPORT", "/dev/null"));
        file << "live device memory " << memory.live(false) << "\nlive pinned memory " << memory.live(true);
        file << "\nlive streams " << streams.size() << "\nlive events " << events.size();
        file << "\nlive modules " << modules.size() << "\nlive graphs " << graphs.size() + runnable.size();
        for (const auto& [device, count] : retained) file << "\nlive contexts of " << device << " " << count;
        for (const auto& [name, count] : calls) file << "\ncalled " << name << " " << count;
        for (const std::string& text : faults) file << "\nfault " << text;
        file << "\n";
    }
};

// Never destroyed when the library is unloaded: threads of streams may still be working.
static Driver& driver() {
    static Driver* one = new Driver;
    return *one;
}
__attribute__((destructor)) static void write_report() { driver().report(); }

static thread_local Context* current = nullptr;
static thread_local Stream* capturing = nullptr;  // by this thread

// A call of the driver: counted, failing if that was asked for, with a live context, under the lock.
struct Call {
    std::unique_lock<std::mutex> held;
    Status status = OK;
    Driver& all = driver();
    const char* name;

    explicit Call(const char* name, bool with_context = true, bool safe_in_capture = true)
        : held(driver().lock), name(name) {
        ++all.calls[name];
        if (with_context && current == nullptr) {
            status = INVALID_CONTEXT;
            return;
        }
        if (name == all.failing && --all.calls_to_go == 0) {
            status = all.failing_with;
            const bool sticky = status >= ILLEGAL_ADDRESS || status == ECC_UNCORRECTABLE;
            if (current && sticky) all.lost[current->device] = status;
        }
        if (with_context && all.lost.count(current->device)) status = all.lost[current->device];
        if (!safe_in_capture && capturing != nullptr) {
            capturing->broken = true;
            status = CAPTURE_UNSUPPORTED;
        }
    }

    explicit operator bool() const { return status == OK; }

    template <typename T>
    std::shared_ptr<T> find(Handles<T>& handles, void* handle) {
        auto found = handles.find(handle);
        if (found == handles.end() || found->second->device != current->device) {
            status = INVALID_HANDLE;
            all.fault(std::string(name) + ": a handle that is none, or another device's");
            return nullptr;
        }
        return found->second;
    }

    // Work on a stream, if its memory may be used.
    Status enqueue(void* handle, Work work) {
        const std::shared_ptr<Stream> stream = find(all.streams, handle);
        if (!stream) return status;
        if (!all.may_use(stream->device, work.spans, name)) return all.lost[stream->device] = ILLEGAL_ADDRESS;
        all.enqueue(stream, std::move(work), name);
        return OK;
    }
};

#define ENTER(...)      \
    Call call(__VA_ARGS__); \
    if (!call) return call.status
