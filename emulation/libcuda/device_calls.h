// Devices, contexts, streams and events.
#pragma once
#include "driver.h"

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
