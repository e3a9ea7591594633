// Streams, events and graphs. Each stream has a thread that does its work in order, at its own pace.
//
// It reports what a device would not: work on memory that is freed or not pinned, a copy whose source changed
// meanwhile, and two streams on the same bytes without an event between them. Trap: an order that the host knows counts
// only if the host waited for it. So a host that guesses is found, but one that knows the order in another way is
// reported too.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "address_space.h"

struct Work {
    std::function<void()> run;
    std::vector<Span> spans;
};

struct Graph {
    std::vector<Work> work;
    int device;
};

struct Stream {
    int number, device;
    std::deque<Work> queue;
    uint64_t enqueued = 0, done = 0;
    Clock before;
    std::unique_ptr<Graph> capture;
    std::thread::id capturer;
    bool broken = false, closing = false;
    std::thread worker;
};

struct Event {
    int device;
    bool timing;
    std::shared_ptr<Stream> stream;
    uint64_t serial = 0;
    Clock before;
    std::shared_ptr<std::chrono::steady_clock::time_point> passed;
};

// All state, under one lock.
struct World {
    std::mutex lock;
    std::condition_variable moved;
    AddressSpace memory;
    Clock known;  // what the host has waited for
    std::map<int, int> lost;
    std::vector<std::string> faults;
    int pace_us = 0;

    void fault(const std::string& text) {
        std::fprintf(stderr, "emulated CUDA: %s\n", text.c_str());
        faults.push_back(text);
    }

    // Needs the lock. Whether the ranges may be used on that device.
    bool may_use(int device, const std::vector<Span>& spans, const char* call) {
        for (const Span& span : spans) {
            const Allocation* found = memory.find(span.begin, span.size);
            if (found == nullptr) {
                const std::string size = std::to_string(span.size);
                fault(std::string(call) + ": " + size + " bytes that are not allocated or not pinned");
                return false;
            }
            if (found->device != PINNED && found->device != device) {
                fault(std::string(call) + ": memory of another device");
                return false;
            }
        }
        return true;
    }

    // Needs the lock; the ranges were checked before.
    void enqueue(const std::shared_ptr<Stream>& stream, Work work, const char* call) {
        if (stream->capture) {
            stream->capture->work.push_back(std::move(work));
            return;
        }
        const uint64_t serial = ++stream->enqueued;
        const Clock before = order(*stream);
        for (const Span& span : work.spans) {
            ++memory.find(span.begin, span.size)->pending;
            note({stream->number, serial, before, span}, call);
        }
        stream->queue.push_back(std::move(work));
        moved.notify_all();
    }

    // What comes before the stream's next piece of work.
    Clock order(const Stream& stream) const {
        Clock before = stream.before;
        join(before, known);
        return before;
    }

    // Needs the lock. Remembers the access, and reports earlier ones that are not ordered before it.
    void note(const Access& access, const char* call) {
        std::vector<Access>& others = memory.find(access.span.begin, access.span.size)->accesses;
        std::vector<Access> kept;
        for (Access& other : others) {
            if (other.serial <= known[other.stream]) continue;
            if (!access.after(other) && !other.after(access) && access.clashes(other)) {
                fault(std::string(call) + ": two streams use the same bytes, and neither waits for the other");
            }
            kept.push_back(std::move(other));
        }
        kept.push_back(access);
        others = std::move(kept);
    }

    void wait_for(std::unique_lock<std::mutex>& held, Stream& stream, uint64_t serial) {
        moved.wait(held, [&] { return stream.done >= serial; });
    }

    void start(const std::shared_ptr<Stream>& stream) {
        stream->worker = std::thread([this, stream] { work_off(stream); });
    }

   private:
    void work_off(std::shared_ptr<Stream> stream) {
        std::minstd_rand random(stream->number + 1);
        std::unique_lock<std::mutex> held(lock);
        for (;;) {
            moved.wait(held, [&] { return !stream->queue.empty() || stream->closing; });
            if (stream->queue.empty()) return;
            Work work = std::move(stream->queue.front());
            stream->queue.pop_front();
            const bool alive = !lost.count(stream->device);
            held.unlock();
            if (pace_us) std::this_thread::sleep_for(std::chrono::microseconds(random() % pace_us));
            if (alive) work.run();
            work.run = nullptr;
            held.lock();
            for (const Span& span : work.spans) {
                Allocation* found = memory.find(span.begin, span.size);
                if (found) --found->pending;
            }
            ++stream->done;
            moved.notify_all();
        }
    }
};
