// libcuda.so.1 without a device: the calls that reidstream makes, for the real `cuda.bindings` to find.
//
// Why: a fake in Python takes whatever it is given. Behind this one are the package's own conversions, the machine's
// own calling convention, and cubins of the real compiler; the kernel's source is run as C++. Settings come as
// environment:
//   EMULATED_CUDA_KERNELS  folder of cubins, each named by the number of its resize and 1 for float16: 0-1.cubin
//   EMULATED_CUDA_REPORT   file that gets, at the end, what is alive, what was called, and every fault
//   EMULATED_CUDA_DEVICES, _MEMORY (bytes), _PACE_US (each piece of work first sleeps up to that long)
//   EMULATED_CUDA_FAULT    CALL:N:STATUS, the Nth call of that name answers STATUS
#include <cctype>
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
    std::mutex one_kernel;  // the shim's blockIdx is everyone's

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

// Never taken down by the library's own end: streams' threads may be at work then.
static Driver& driver() {
    static Driver* one = new Driver;
    return *one;
}
__attribute__((destructor)) static void write_report() { driver().report(); }

static thread_local Context* current = nullptr;
static thread_local Stream* capturing = nullptr;  // by this thread

// A call of the driver: counted, failing when it was told to, with a live context and under the lock.
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

static Status cuInit(unsigned int flags) {
    ENTER("cuInit", false);
    return flags == 0 ? OK : INVALID_VALUE;
}
static Status cuDriverGetVersion(int* version) {
    *version = VERSION;
    return OK;
}
static Status cuGetErrorName(Status status, const char** text) {
    *text = NAMES.count(status) ? NAMES.at(status) : nullptr;
    return *text ? OK : INVALID_VALUE;
}
static Status cuGetErrorString(Status status, const char** text) {
    *text = NAMES.count(status) ? "said by an emulated driver" : nullptr;
    return *text ? OK : INVALID_VALUE;
}
static Status cuDeviceGetCount(int* count) {
    ENTER("cuDeviceGetCount", false);
    *count = call.all.devices;
    return OK;
}
static Status cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < driver().devices ? OK : INVALID_DEVICE;
}
static Status cuDeviceGetName(char* text, int length, int device) {
    std::snprintf(text, length, "Emulated %d", device);
    return OK;
}
static Status cuDeviceGetUuid(unsigned char* uuid, int device) {
    std::memset(uuid, device + 1, 16);
    return OK;
}
static Status cuDeviceGetAttribute(int* value, int attribute, int) {
    if (attribute != MAJOR_ATTRIBUTE && attribute != MINOR_ATTRIBUTE) return INVALID_VALUE;
    *value = attribute == MAJOR_ATTRIBUTE ? ARCHITECTURE / 10 : ARCHITECTURE % 10;
    return OK;
}
static Status cuDeviceTotalMem(size_t* bytes, int) {
    *bytes = driver().size;
    return OK;
}
static Status cuDevicePrimaryCtxRetain(Context** context, int device) {
    ENTER("cuDevicePrimaryCtxRetain", false);
    if (call.all.lost.count(device)) return call.all.lost[device];
    ++call.all.retained[device];
    *context = &call.all.contexts[device];
    return OK;
}
static Status cuDevicePrimaryCtxRelease(int device) {
    ENTER("cuDevicePrimaryCtxRelease", false);
    if (--call.all.retained[device] < 0) call.all.fault("cuDevicePrimaryCtxRelease: once too often");
    return call.all.lost.count(device) ? call.all.lost[device] : OK;
}
static Status cuCtxSetCurrent(Context* context) {
    ENTER("cuCtxSetCurrent", false);
    current = context;
    return context && call.all.lost.count(context->device) ? call.all.lost[context->device] : OK;
}

static Status cuStreamCreate(void** handle, unsigned int flags) {
    ENTER("cuStreamCreate");
    if (flags != NON_BLOCKING) call.all.fault("cuStreamCreate: ordered with the default stream");
    auto stream = std::make_shared<Stream>();
    stream->number = ++call.all.streams_made, stream->device = current->device;
    call.all.streams[*handle = stream.get()] = stream;
    call.all.start(stream);
    return OK;
}
static Status cuStreamDestroy(void* handle) {
    ENTER("cuStreamDestroy");
    const auto stream = call.find(call.all.streams, handle);
    if (!stream) return call.status;
    if (stream->done < stream->enqueued) call.all.fault("cuStreamDestroy: it has work to do");
    stream->closing = true;
    call.all.streams.erase(handle);
    call.all.moved.notify_all();
    stream->worker.detach();
    return OK;
}
static Status cuStreamSynchronize(void* handle) {
    ENTER("cuStreamSynchronize");
    const auto stream = call.find(call.all.streams, handle);
    if (!stream) return call.status;
    if (stream->capture) {
        stream->broken = true;
        return CAPTURE_UNSUPPORTED;
    }
    const uint64_t serial = stream->enqueued;
    const Clock before = stream->before;
    call.all.wait_for(call.held, *stream, serial);
    join(call.all.known, before);
    join(call.all.known, {{stream->number, serial}});
    return call.all.lost.count(stream->device) ? call.all.lost[stream->device] : OK;
}

static Status cuEventCreate(void** handle, unsigned int flags) {
    ENTER("cuEventCreate");
    if (!(flags & BLOCKING_SYNC)) call.all.fault("cuEventCreate: waiting for it keeps a core busy");
    auto event = std::make_shared<Event>();
    event->device = current->device, event->timing = !(flags & DISABLE_TIMING);
    call.all.events[*handle = event.get()] = event;
    return OK;
}
static Status cuEventDestroy(void* handle) {
    ENTER("cuEventDestroy");
    if (!call.find(call.all.events, handle)) return call.status;
    call.all.events.erase(handle);
    return OK;
}
static Status cuEventRecord(void* event_handle, void* stream_handle) {
    ENTER("cuEventRecord");
    const auto event = call.find(call.all.events, event_handle);
    const auto stream = event ? call.find(call.all.streams, stream_handle) : nullptr;
    if (!stream) return call.status;
    if (stream->capture) return CAPTURE_UNSUPPORTED;  // not needed, so not emulated
    auto passed = event->passed = std::make_shared<std::chrono::steady_clock::time_point>();
    call.all.enqueue(stream, {[passed] { *passed = std::chrono::steady_clock::now(); }, {}}, call.name);
    event->stream = stream, event->serial = stream->enqueued, event->before = stream->before;
    return OK;
}
static Status cuEventSynchronize(void* handle) {
    ENTER("cuEventSynchronize", true, false);
    const auto event = call.find(call.all.events, handle);
    if (!event) return call.status;
    if (!event->stream) return OK;
    const auto stream = event->stream;
    const uint64_t serial = event->serial;
    const Clock before = event->before;
    call.all.wait_for(call.held, *stream, serial);
    join(call.all.known, before);
    join(call.all.known, {{stream->number, serial}});
    return call.all.lost.count(stream->device) ? call.all.lost[stream->device] : OK;
}
static Status cuStreamWaitEvent(void* stream_handle, void* event_handle, unsigned int flags) {
    ENTER("cuStreamWaitEvent");
    const auto stream = call.find(call.all.streams, stream_handle);
    const auto event = stream ? call.find(call.all.events, event_handle) : nullptr;
    if (!event) return call.status;
    if (flags != 0) return INVALID_VALUE;
    if (stream->capture) {
        stream->broken = true;
        return CAPTURE_ISOLATION;
    }
    if (!event->stream) return OK;
    const auto from = event->stream;
    const uint64_t serial = event->serial;
    auto wait = [from, serial] {
        std::unique_lock<std::mutex> held(driver().lock);
        driver().wait_for(held, *from, serial);
    };
    call.all.enqueue(stream, {wait, {}}, call.name);
    join(stream->before, event->before);
    join(stream->before, {{from->number, serial}});
    return OK;
}
static Status cuEventElapsedTime(float* ms, void* start, void* end) {
    ENTER("cuEventElapsedTime");
    const auto first = call.find(call.all.events, start);
    const auto last = first ? call.find(call.all.events, end) : nullptr;
    if (!last) return call.status;
    if (!first->timing || !last->timing || !first->stream || !last->stream) return INVALID_HANDLE;
    if (first->stream->done < first->serial || last->stream->done < last->serial) return NOT_READY;
    *ms = std::chrono::duration<float, std::milli>(*last->passed - *first->passed).count();
    return OK;
}

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
    if (now && to && downloads) std::memset(there, 0xff, size);  // who reads too early shall see it
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

static Status cuModuleLoadData(void** handle, const unsigned char* image) {
    ENTER("cuModuleLoadData", true, false);
    const auto cubin = read_cubin(image, "crop");
    if (!cubin) return INVALID_IMAGE;
    if (cubin->architecture != ARCHITECTURE) return NO_BINARY_FOR_GPU;
    const uint64_t size = cubin_size(image);
    for (int resize = 0; resize < 4; ++resize) {
        for (int half = 0; half < 2; ++half) {
            const std::string name = std::to_string(resize) + "-" + std::to_string(half) + ".cubin";
            std::ifstream file(setting("EMULATED_CUDA_KERNELS", ".") + "/" + name, std::ios::binary);
            const std::string known((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
            if (known.size() != size || std::memcmp(known.data(), image, size) != 0) continue;
            auto module = std::make_shared<Module>(Module{current->device, resize, half, *cubin});
            call.all.modules[*handle = module.get()] = module;
            return OK;
        }
    }
    call.all.fault("cuModuleLoadData: a cubin that is not among the known ones");
    return INVALID_IMAGE;
}
static Status cuModuleUnload(void* handle) {
    ENTER("cuModuleUnload");
    if (!call.find(call.all.modules, handle)) return call.status;
    call.all.modules.erase(handle);
    return OK;
}
static Status cuModuleGetFunction(void** function, void* handle, const char* name) {
    ENTER("cuModuleGetFunction");
    if (!call.find(call.all.modules, handle)) return call.status;
    *function = handle;
    return std::strcmp(name, "crop") == 0 ? OK : NOT_FOUND;
}

// One launch, its arguments as the compiler's own table says they lie.
struct Launch {
    std::shared_ptr<Module> module;
    unsigned int grid[3], block[3];
    Spec spec;
    Address frames, crops, out;
    int count;
    Access access;  // its span is not used
};

static void run_kernel(Launch launch) {
    Driver& all = driver();
    AddressSpace& memory = all.memory;
    std::vector<Frame> frames((const Frame*)memory.real(launch.frames),
                              (const Frame*)memory.real(launch.frames) + launch.count);
    {
        std::unique_lock<std::mutex> held(all.lock);
        for (Frame& frame : frames) {
            const bool nv12 = frame.chroma != 0;
            const int channels = frame.format == FORMAT_RGB || frame.format == FORMAT_BGR ? 3 : 1;
            const uint64_t luma = (uint64_t)frame.pitch * (frame.height - 1) + (uint64_t)frame.width * channels;
            const uint64_t chroma = (uint64_t)frame.chroma_pitch * (frame.height / 2 - 1) + frame.width;
            std::vector<Span> spans = {{frame.data, luma, false}};
            if (nv12) spans.push_back({frame.chroma, chroma, false});
            if (!all.may_use(launch.module->device, spans, "the kernel")) {
                all.lost[launch.module->device] = ILLEGAL_ADDRESS;
                return;
            }
            for (const Span& span : spans) {
                Access access = launch.access;
                access.span = span;
                all.note(access, "the kernel");
            }
            frame.data = (unsigned long long)memory.real(frame.data);
            if (nv12) frame.chroma = (unsigned long long)memory.real(frame.chroma);
        }
    }
    std::unique_lock<std::mutex> alone(all.one_kernel);
    ::launch(launch.module->resize, launch.module->half, launch.grid, launch.block, &launch.spec, frames.data(),
             launch.count, (const Crop*)memory.real(launch.crops), memory.real(launch.out));
}

static Status cuLaunchKernel(void* function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                             unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                             void* stream_handle, void** parameters, void** extra) {
    ENTER("cuLaunchKernel");
    const auto module = call.find(call.all.modules, function);
    const auto stream = module ? call.find(call.all.streams, stream_handle) : nullptr;
    if (!stream) return call.status;
    if (shared || extra || !parameters || !grid_x || !grid_y || !grid_z) return INVALID_VALUE;
    const uint64_t threads = (uint64_t)block_x * block_y * block_z;
    if (grid_y > MOST_BLOCKS_YZ || grid_z > MOST_BLOCKS_YZ || grid_x > 0x7fffffff) return INVALID_VALUE;
    if (threads > module->cubin.most_threads) return INVALID_VALUE;
    if (threads * module->cubin.registers > REGISTERS_OF_A_BLOCK) return LAUNCH_OUT_OF_RESOURCES;
    Launch launch{module, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, {}, 0, 0, 0, 0, {}};
    void* const targets[] = {&launch.spec, &launch.frames, &launch.count, &launch.crops, &launch.out};
    const size_t sizes[] = {sizeof(Spec), sizeof(Address), sizeof(int), sizeof(Address), sizeof(Address)};
    if (module->cubin.parameters.size() != 5) return INVALID_IMAGE;
    for (int i = 0; i < 5; ++i) {
        if ((size_t)module->cubin.parameters.at(i).second != sizes[i]) return INVALID_IMAGE;
        std::memcpy(targets[i], parameters[i], sizes[i]);
    }
    const Spec& spec = launch.spec;
    const uint64_t crop = (uint64_t)spec.width * spec.height * spec.channels * (module->half ? 2 : 4);
    launch.access = {stream->number, stream->enqueued + 1, call.all.order(*stream), {}};
    std::vector<Span> spans = {{launch.frames, launch.count * sizeof(Frame), false},
                               {launch.crops, grid_x * sizeof(Crop), false},
                               {launch.out, grid_x * crop, true}};
    return call.enqueue(stream_handle, {[launch] { run_kernel(launch); }, spans});
}

static Status cuStreamBeginCapture(void* handle, unsigned int mode) {
    ENTER("cuStreamBeginCapture", true, false);
    const auto stream = call.find(call.all.streams, handle);
    if (!stream) return call.status;
    if (mode != THREAD_LOCAL) call.all.fault("cuStreamBeginCapture: hinders other threads");
    stream->capture = std::make_unique<Graph>(Graph{{}, stream->device});
    stream->capturer = std::this_thread::get_id(), stream->broken = false;
    capturing = stream.get();
    return OK;
}
static Status cuStreamEndCapture(void* handle, void** graph) {
    ENTER("cuStreamEndCapture");
    *graph = nullptr;
    const auto stream = call.find(call.all.streams, handle);
    if (!stream) return call.status;
    if (stream->capturer != std::this_thread::get_id()) return CAPTURE_WRONG_THREAD;
    std::shared_ptr<Graph> made = std::move(stream->capture);
    capturing = nullptr;
    if (!made || stream->broken) return CAPTURE_INVALIDATED;
    call.all.graphs[*graph = made.get()] = made;
    return OK;
}
static Status cuGraphInstantiateWithFlags(void** handle, void* graph, unsigned long long flags) {
    ENTER("cuGraphInstantiate");
    const auto found = call.find(call.all.graphs, graph);
    if (!found) return call.status;
    if (flags != 0) return INVALID_VALUE;
    auto made = std::make_shared<Graph>(*found);
    call.all.runnable[*handle = made.get()] = made;
    return OK;
}
static Status cuGraphLaunch(void* graph, void* stream) {
    ENTER("cuGraphLaunch");
    const auto found = call.find(call.all.runnable, graph);
    if (!found) return call.status;
    for (const Work& work : found->work) {
        const Status status = call.enqueue(stream, work);
        if (status != OK) return status;
    }
    return OK;
}
static Status cuGraphDestroy(void* graph) {
    ENTER("cuGraphDestroy");
    if (!call.find(call.all.graphs, graph)) return call.status;
    call.all.graphs.erase(graph);
    return OK;
}
static Status cuGraphExecDestroy(void* graph) {
    ENTER("cuGraphExecDestroy");
    if (!call.find(call.all.runnable, graph)) return call.status;
    call.all.runnable.erase(graph);
    return OK;
}

// For a library that stands for a network: its work, in a stream's turn, on the bytes behind the two ranges.
extern "C" Status emulated_network(void* stream, Address taken, size_t taken_size, Address given, size_t given_size,
                                   void (*compute)(const void*, void*)) {
    ENTER("emulated_network");
    const unsigned char* from = call.all.memory.real(taken);
    unsigned char* to = call.all.memory.real(given);
    auto run = [=] { compute(from, to); };
    return call.enqueue(stream, {run, {{taken, taken_size, false}, {given, given_size, true}}});
}
// Whether a stream is being captured; `breaks`: what was asked of it cannot be.
extern "C" int emulated_capture(void* stream, int breaks) {
    Call call("emulated_capture");
    const auto found = call ? call.find(call.all.streams, stream) : nullptr;
    if (!found || !found->capture) return 0;
    found->broken = found->broken || breaks;
    return 1;
}

#define FUNCTION(NAME) \
    { #NAME, (void*)NAME }

extern "C" Status cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, int* found) {
    static const std::map<std::string, void*> FUNCTIONS = {
        FUNCTION(cuInit),
        FUNCTION(cuDriverGetVersion),
        FUNCTION(cuGetErrorName),
        FUNCTION(cuGetErrorString),
        FUNCTION(cuDeviceGetCount),
        FUNCTION(cuDeviceGet),
        FUNCTION(cuDeviceGetName),
        FUNCTION(cuDeviceGetUuid),
        FUNCTION(cuDeviceGetAttribute),
        FUNCTION(cuDeviceTotalMem),
        FUNCTION(cuDevicePrimaryCtxRetain),
        FUNCTION(cuDevicePrimaryCtxRelease),
        FUNCTION(cuCtxSetCurrent),
        FUNCTION(cuStreamCreate),
        FUNCTION(cuStreamDestroy),
        FUNCTION(cuStreamSynchronize),
        FUNCTION(cuStreamWaitEvent),
        FUNCTION(cuStreamBeginCapture),
        FUNCTION(cuStreamEndCapture),
        FUNCTION(cuEventCreate),
        FUNCTION(cuEventDestroy),
        FUNCTION(cuEventRecord),
        FUNCTION(cuEventSynchronize),
        FUNCTION(cuEventElapsedTime),
        FUNCTION(cuMemAlloc),
        FUNCTION(cuMemFree),
        FUNCTION(cuMemGetInfo),
        FUNCTION(cuMemHostAlloc),
        FUNCTION(cuMemFreeHost),
        FUNCTION(cuMemsetD8Async),
        FUNCTION(cuMemcpyHtoDAsync),
        FUNCTION(cuMemcpyDtoHAsync),
        FUNCTION(cuMemcpyDtoDAsync),
        FUNCTION(cuModuleLoadData),
        FUNCTION(cuModuleUnload),
        FUNCTION(cuModuleGetFunction),
        FUNCTION(cuLaunchKernel),
        FUNCTION(cuGraphInstantiateWithFlags),
        FUNCTION(cuGraphLaunch),
        FUNCTION(cuGraphDestroy),
        FUNCTION(cuGraphExecDestroy),
    };
    const auto function_found = FUNCTIONS.find(name);
    *function = function_found == FUNCTIONS.end() ? nullptr : function_found->second;
    if (found) *found = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
