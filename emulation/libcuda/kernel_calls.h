// Modules, launches and graphs. The kernel is the one that the cubin was compiled from, built for this machine.
#pragma once
#include "driver.h"

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

// One launch, with its arguments laid out as the compiler's own table says.
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
