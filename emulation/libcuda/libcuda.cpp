// libcuda.so.1 without a device: the calls that reidstream makes, for the real `cuda.bindings` to find.
//
// Why: a fake in Python accepts whatever it is given. Here the package's real conversions, the machine's real calling
// convention and cubins of the real compiler are used; the kernel's source runs as C++. Settings are environment
// variables:
//   EMULATED_CUDA_KERNELS  folder of cubins, each named by the number of its resize and 1 for float16: 0-1.cubin
//   EMULATED_CUDA_REPORT   file to write at the end: what is still alive, what was called, and every fault
//   EMULATED_CUDA_DEVICES, _MEMORY (bytes), _PACE_US (each piece of work first sleeps up to that long)
//   EMULATED_CUDA_FAULT    CALL:N:STATUS, the Nth call of that name answers STATUS
#include "device_calls.h"
#include "kernel_calls.h"
#include "memory_calls.h"

// For a library that plays a network: its work, in the stream's order, on the bytes of the two ranges.
extern "C" Status emulated_network(void* stream, Address taken, size_t taken_size, Address given, size_t given_size,
                                   void (*compute)(const void*, void*)) {
    ENTER("emulated_network");
    const unsigned char* from = call.all.memory.real(taken);
    unsigned char* to = call.all.memory.real(given);
    auto run = [=] { compute(from, to); };
    return call.enqueue(stream, {run, {{taken, taken_size, false}, {given, given_size, true}}});
}
// Whether a stream is being captured. `breaks`: the caller does something that a capture does not allow.
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
